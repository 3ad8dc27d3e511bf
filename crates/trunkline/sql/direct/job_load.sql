-- Jobs in bulk, for engines with rights on the tables: what _job_write does, without its checks.
copy trunkline.job_e0 (lane, flags, kind, payload, headers) from stdin (format binary)
