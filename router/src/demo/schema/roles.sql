-- Once per server: the login that clients use, and the roles that tell readers from writers.
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['app', 'app_reader', 'app_writer', 'app_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I', wanted);
        END IF;
    END LOOP;
END $$;
ALTER ROLE app LOGIN PASSWORD 'secret';
GRANT app_reader, app_writer, app_admin TO app;
