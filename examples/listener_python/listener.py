"""Follows the alerts of cloudwalk_monitor and passes them on: to a webhook (Slack's shape) and to Alertmanager.

    pip install -r requirements.txt
    PGHOST=db.example PGDATABASE=shop PGUSER=analyst SLACK_WEBHOOK_URL=https://… python listener.py

NOTIFY is the wake-up call, the table alerts is the truth. So: LISTEN first, read what is new since the cursor, wait
for a notification, and look now and then even if none comes. The cursor is the id of the last alert that was passed
on, and is stored after that: killed in between, this sends one alert again; it never leaves one out. Whoever must
not act twice tells them apart by their number.

Environment: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD and so on say which database, in a session of its own (no
transaction pooler in between), and
    SLACK_WEBHOOK_URL, ALERTMANAGER_URL  where to post; what is not set is left out
    LISTENER_CURSOR   file of the cursor (cursor). Without one, the alerts from now on are passed on
    LISTENER_SCHEMA   schema of the extension (found through the search_path)
    LISTENER_CHANNEL  cloudwalk_monitor.channel (cloudwalk_alerts)
    LISTENER_POLL     seconds between looks without a notification (60)
"""

import datetime
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

SLACK = os.environ.get("SLACK_WEBHOOK_URL")
ALERTMANAGER = os.environ.get("ALERTMANAGER_URL")
CURSOR = os.environ.get("LISTENER_CURSOR", "cursor")
SCHEMA = os.environ.get("LISTENER_SCHEMA")
CHANNEL = os.environ.get("LISTENER_CHANNEL", "cloudwalk_alerts")
POLL = float(os.environ.get("LISTENER_POLL", "60"))

BATCH = 1000
HTTP_TIMEOUT = 10
LONGEST_PAUSE = 60
# Missing so many heartbeats, the connection is taken for dead, whatever TCP thinks of it.
MISSED = 3
# For peers that vanish without a word: TCP asks after 30 s, and gives up 30 s later.
CONNECTION = {
    "autocommit": True,
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "fallback_application_name": "cloudwalk_listener",
}


class Failed(Exception):
    """Try again later, on a new connection."""


def log(text):
    print(text, file=sys.stderr, flush=True)


def post(url, body):
    """Posts JSON. What the receiver refuses for good is logged and given up: it would refuse it again."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=HTTP_TIMEOUT).close()
    except urllib.error.HTTPError as e:
        if 400 <= e.code < 500 and e.code not in (408, 429):
            log(f"refused with {e.code}: {body}")
        else:
            raise Failed(f"the receiver answers {e.code}") from e
    except OSError as e:
        raise Failed(f"the receiver cannot be reached: {e}") from e


def message(alert):
    """An alert for people, in Slack's shape."""
    mark = {"opened": "🔴", "reopened": "🔴", "escalated": "🔴", "resolved": "🟢", "retracted": "⚪"}
    event = alert["event"]
    said = ": ".join(filter(None, [alert.get("reason"), alert.get("note")]))
    others = [m["series"] for m in alert.get("members", []) if m["incident"] != alert["incident"]]
    if others:
        said += f"\ntogether with {', '.join(others)}"
    text = f"{mark.get(event, '🔵')} {event} {alert.get('severity', '')} {alert.get('monitor')}: {alert.get('series')}\n{said}"
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, escaped)
    return {"text": f"{text}\nincident {alert['incident']}, alert {alert['alert']}, {alert.get('time')}"}


def rfc3339(seconds_from_now=0.0):
    time_ = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return time_.isoformat()


def firing(incident, ends_in, severity=None):
    """An incident in Alertmanager's shape (POST /api/v2/alerts). Its labels are its identity."""
    return {
        "labels": {
            "alertname": "TransactionAnomaly",
            "incident": str(incident["incident"]),
            "monitor": incident["monitor"],
            "series": incident["series"],
            "direction": "above" if incident["direction"] > 0 else "below",
            "severity": severity or incident["severity"],
        },
        "annotations": {"summary": incident.get("reason") or incident["series"]},
        "endsAt": rfc3339(ends_in),
    }


class Listener:
    def __init__(self, db):
        self.db = db
        self.cursor = self.read_cursor()
        # Seconds without a notification after which the connection is taken for dead; known from a heartbeat.
        self.patience = None

    def name(self, relation):
        return sql.Identifier(SCHEMA, relation) if SCHEMA else sql.Identifier(relation)

    def read_cursor(self):
        try:
            with open(CURSOR) as f:
                return int(f.read())
        except FileNotFoundError:
            query = sql.SQL("SELECT coalesce(max(id), 0) FROM {}").format(self.name("alerts"))
            last = self.db.execute(query).fetchone()[0]
            self.write_cursor(last)
            return last

    def write_cursor(self, last):
        with open(CURSOR + ".new", "w") as f:
            f.write(str(last))
            f.flush()
            os.fsync(f.fileno())
        os.replace(CURSOR + ".new", CURSOR)
        self.cursor = last

    def read_backlog(self):
        """Passes on what is new."""
        query = sql.SQL("SELECT id, payload FROM {}(%s, %s)").format(self.name("alerts_since"))
        while True:
            batch = self.db.execute(query, [self.cursor, BATCH]).fetchall()
            for last, alert in batch:
                # A kind of row that has no payload is none of ours.
                if alert:
                    self.pass_on(alert)
                self.write_cursor(last)
            if len(batch) < BATCH:
                return

    def pass_on(self, alert):
        if SLACK:
            post(SLACK, message(alert))
        if ALERTMANAGER and alert["event"] in ("resolved", "retracted"):
            # Under each severity it may have had.
            post(ALERTMANAGER + "/api/v2/alerts", [firing(alert, 0, s) for s in ("warning", "critical")])

    def refresh(self):
        """Tells Alertmanager what goes on: it forgets what it is not told again."""
        if not ALERTMANAGER:
            return
        query = sql.SQL(
            "SELECT id AS incident, monitor, series, direction, severity::text AS severity, reason FROM {} "
            "WHERE state IN ('open', 'acknowledged')"
        ).format(self.name("incidents"))
        with self.db.cursor(row_factory=dict_row) as c:
            body = [firing(i, 3 * POLL) for i in c.execute(query)]
        if body:
            post(ALERTMANAGER + "/api/v2/alerts", body)

    def on_heartbeat(self, beat):
        """The monitor is alive: an alert that always fires. Let Alertmanager route it to whoever notices its absence."""
        self.patience = MISSED * beat["interval"] or None
        if not ALERTMANAGER:
            return
        alerts = {"MonitorAlive": True, "MonitorUnwell": beat["status"] != "ok"}
        body = [
            {
                "labels": {"alertname": name, "database": beat["database"]},
                "annotations": {"summary": beat["status"]},
                "endsAt": rfc3339(self.patience or POLL),
            }
            for name, holds in alerts.items()
            if holds
        ]
        post(ALERTMANAGER + "/api/v2/alerts", body)

    def wait(self):
        """Until there is something to read, or it is time to look."""
        # What was just read came over this connection.
        self.heard = time.monotonic()
        look = self.heard + POLL
        while (now := time.monotonic()) < look:
            if self.patience and now - self.heard > self.patience:
                raise Failed(f"no heartbeat for {self.patience:.0f} s: the connection, or the monitor, is dead")
            until = min(look, self.heard + self.patience) if self.patience else look
            for notification in self.db.notifies(timeout=max(until - now, 0.01), stop_after=1):
                self.heard = time.monotonic()
                event = json.loads(notification.payload)
                if event.get("event") != "heartbeat":
                    return
                self.on_heartbeat(event)
                if event["last_alert"] > self.cursor:
                    return

    def run(self):
        while True:
            self.read_backlog()
            self.refresh()
            self.wait()


def main():
    pause = 1.0
    while True:
        began = time.monotonic()
        try:
            with psycopg.connect(**CONNECTION) as db:
                db.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                log("listening")
                Listener(db).run()
        except (psycopg.Error, Failed) as e:
            log(f"{type(e).__name__}: {e}")
        # Longer each time, unless it went well for a while; and not all listeners at once.
        pause = 1.0 if time.monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
        time.sleep(pause * random.uniform(0.5, 1.0))


if __name__ == "__main__":
    main()
