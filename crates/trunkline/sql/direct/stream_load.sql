-- Events in bulk, for engines with rights on the tables: what _stream_write does, without its checks.
copy trunkline.stream_event (segment, type, key, content, payload, headers) from stdin (format binary)
