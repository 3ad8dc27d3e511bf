-- Encodes a text for a URL: letters, digits and `_.-` stay, a space is a plus, each other byte is %xx.
-- What is frequent goes by replacement; of the rest each character once, however often it is there.
-- Without a search path, which would cost as much as the rest of it; hence every name is qualified.
create or replace function pgq._urlencode(value text) returns text
language plpgsql immutable strict as $$
declare
    v_text pg_catalog.text := pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
                                  value, '%', '%25'), '+', '%2b'), ' ', '+'), ':', '%3a');
    v_char pg_catalog.text;
begin
    while v_text operator(pg_catalog.~) '[^A-Za-z0-9_.%+-]' collate pg_catalog."C" loop
        v_char := pg_catalog.substring(v_text, '[^A-Za-z0-9_.%+-]' collate pg_catalog."C");
        v_text := pg_catalog.replace(v_text, v_char, pg_catalog.regexp_replace(
            pg_catalog.encode(pg_catalog.convert_to(v_char, pg_catalog.getdatabaseencoding()), 'hex'), '(..)', '%\1', 'g'));
    end loop;
    return v_text;
end $$;
