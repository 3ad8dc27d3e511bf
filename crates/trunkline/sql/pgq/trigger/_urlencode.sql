-- Encodes a text for a URL: letters, digits and `_.-` stay, a space is a plus, each other byte is %xx.
-- What is frequent goes by replacement; of the rest each character once, however often it is there.
create or replace function pgq._urlencode(value text) returns text
language plpgsql immutable strict set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_text text := value;
    v_char text;
begin
    if v_text !~ '[^A-Za-z0-9_.-]' collate "C" then
        return v_text;
    end if;
    v_text := replace(replace(replace(replace(v_text, '%', '%25'), '+', '%2b'), ' ', '+'), ':', '%3a');
    loop
        v_char := substring(v_text from '[^A-Za-z0-9_.%+-]' collate "C");
        exit when v_char is null;
        v_text := replace(v_text, v_char,
                          regexp_replace(encode(convert_to(v_char, getdatabaseencoding()), 'hex'), '(..)', '%\1', 'g'));
    end loop;
    return v_text;
end $$;
