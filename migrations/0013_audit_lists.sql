-- The audit trail by somebody, by a verb and by a kind of verb, newest first, however much others have changed since.
create index audit_by_author on audit (by, id);
create index audit_by_action on audit (action, id);
create index audit_by_kind on audit (split_part(action, '.', 1), id);
