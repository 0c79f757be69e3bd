"""Programs written for psycopg, which tests run with anyq in its place, in processes of their own."""
