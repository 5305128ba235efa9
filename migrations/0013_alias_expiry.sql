-- Its owner is told once that an alias has expired, by date or by number of messages.

alter table alias add column expiry_told boolean not null default false; -- false again when its limits change

create index alias_expiring on alias (expires_at) where expires_at is not null and not expiry_told and deleted_at is null;
-- Not on message_count: an index on it would make every counted message write an index, too.
create index alias_limited on alias (id) where max_messages is not null and not expiry_told and deleted_at is null;
