-- Every process remembers aliases and rules for a while. Whoever changes one tells them, on commit, whose to forget. Triggers, so that no
-- statement can forget to tell; column lists, so that counting a message or a match tells nobody.

create function announce_change() returns trigger language plpgsql as $$
begin
    perform pg_notify('postroad_changes', coalesce(new.organization_id, old.organization_id)::text);
    return null;
end $$;

create function announce_change_of_alias_destination() returns trigger language plpgsql as $$
begin
    -- an alias that is gone has told already
    perform pg_notify('postroad_changes', a.organization_id::text) from alias a where a.id = coalesce(new.alias_id, old.alias_id);
    return null;
end $$;

create function announce_change_of_catch_all() returns trigger language plpgsql as $$
begin
    perform pg_notify('postroad_changes', d.organization_id::text) from domain d where d.id = coalesce(new.domain_id, old.domain_id);
    return null;
end $$;

create trigger alias_changed
    after insert or delete or update of state, replies, expires_at, max_messages, deleted_at on alias
    for each row execute function announce_change();
create trigger alias_destination_changed
    after insert or delete or update on alias_destination
    for each row execute function announce_change_of_alias_destination();
create trigger destination_changed
    after delete or update of verified_at, address on destination
    for each row execute function announce_change();
create trigger catch_all_destination_changed
    after insert or delete or update on catch_all_destination
    for each row execute function announce_change_of_catch_all();
create trigger domain_changed
    after update on domain
    for each row
    when (row (old.verified_at, old.subaddressing, old.paused_reply, old.dmarc_fail)
          is distinct from row (new.verified_at, new.subaddressing, new.paused_reply, new.dmarc_fail))
    execute function announce_change();
create trigger domain_deleted after delete on domain for each row execute function announce_change();
create trigger rule_changed
    after insert or delete or update of domain_id, alias_id, position, enabled, definition on rule
    for each row execute function announce_change();
create trigger sender_list_entry_changed
    after insert or delete or update on sender_list_entry
    for each row execute function announce_change();

-- An alias lists its correspondents, the newest first.
create index contact_by_alias on contact (alias_id, id desc);
