-- +goose Up
-- When the live probe of a purchase was drawn: an answer over it is not older. 0: with
-- the purchase itself.
ALTER TABLE purchases ADD COLUMN probe_since INTEGER NOT NULL DEFAULT 0;
