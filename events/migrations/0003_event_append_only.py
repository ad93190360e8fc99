"""The log is append-only: an event changes once, when it gets its position, and goes by the retention command only."""

from django.db import migrations

# Triggers by column list: the relay's UPDATE of `position` pays for one short condition and no function call.
# Another column of Event belongs in this list; tests/events/test_retention.py compares it with the model.
_PROTECTED = "id, event_type, workspace_id, version, is_move, payload, subject, created_at"

_GUARD = f"""
CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event %: the log is append-only, % is refused', OLD.id, lower(TG_OP)
        USING ERRCODE = 'check_violation', HINT = 'Old events are deleted by manage.py prune_events.';
END
$$;
CREATE TRIGGER event_keeps_what_it_says BEFORE UPDATE OF {_PROTECTED} ON events_event
    FOR EACH ROW EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER event_gets_one_position BEFORE UPDATE OF position ON events_event
    FOR EACH ROW WHEN (OLD.position IS NOT NULL OR NEW.position IS NULL) EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER event_goes_by_retention BEFORE DELETE ON events_event
    FOR EACH ROW WHEN (current_setting('slipway.pruning', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION events_refuse_change();
"""

_UNGUARD = """
DROP TRIGGER event_keeps_what_it_says ON events_event;
DROP TRIGGER event_gets_one_position ON events_event;
DROP TRIGGER event_goes_by_retention ON events_event;
DROP FUNCTION events_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0002_channels_and_deliveries")]
    operations = [migrations.RunSQL(_GUARD, _UNGUARD)]
