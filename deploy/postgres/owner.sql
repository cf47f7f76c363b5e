-- Run once, by the image of Postgres, when its files are made. Fanfare takes no superuser for its login: row-level security
-- would not hold for it.
\getenv password FANFARE_OWNER_PASSWORD
CREATE ROLE fanfare_owner LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE fanfare OWNER fanfare_owner;
