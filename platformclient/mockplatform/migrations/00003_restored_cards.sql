-- +goose Up
-- The counter of a card that was proven when the first restore happened. All loads
-- since then are known when it and their number give the counter that the card shows.
-- NULL: the books of the card were never restored.
ALTER TABLE cards ADD COLUMN restored_seq INTEGER;
