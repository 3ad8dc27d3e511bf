-- What is in one dead letter of a consumer; false when it is not there any more. Errors: those of stream_dead_letters.
create or replace function trunkline._action_letter(stream text, consumer text, id bigint) returns jsonb
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return coalesce(
        (select jsonb_build_object('payload', d.payload, 'bytes', encode(d.bytes, 'base64'), 'headers', d.headers)
           from trunkline.stream_dead_letters(_action_letter.stream, _action_letter.consumer, 1, _action_letter.id - 1) d
          where d.id = _action_letter.id), 'false');
end $$;
