-- +goose Up
-- How many unused numbers a device holds is asked for at every grant; the used ones of
-- the day need not be read for it.
CREATE INDEX leases_free ON leases (device, epoch, expires) WHERE used_by = '';
