// Follows the alerts of cloudwalk_monitor and passes them on: to a webhook (Slack's shape) and to Alertmanager.
//
//     npm install
//     PGHOST=db.example PGDATABASE=shop PGUSER=analyst SLACK_WEBHOOK_URL=https://… node listener.js
//
// NOTIFY is the wake-up call, the table alerts is the truth. So: LISTEN first, read what is new since the cursor,
// wait for a notification, and look now and then even if none comes. The cursor is the id of the last alert that was
// passed on, and is stored after that: killed in between, this sends one alert again; it never leaves one out.
// Whoever must not act twice tells them apart by their number.
//
// Environment: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD say which database, in a session of its own (no
// transaction pooler in between), and
//     SLACK_WEBHOOK_URL, ALERTMANAGER_URL  where to post; what is not set is left out
//     LISTENER_CURSOR   file of the cursor (cursor). Without one, the alerts from now on are passed on
//     LISTENER_SCHEMA   schema of the extension (found through the search_path)
//     LISTENER_CHANNEL  cloudwalk_monitor.channel (cloudwalk_alerts)
//     LISTENER_POLL     seconds between looks without a notification (60)
'use strict'

const fs = require('node:fs')
const { Client, escapeIdentifier } = require('pg')

const { SLACK_WEBHOOK_URL: SLACK, ALERTMANAGER_URL: ALERTMANAGER, LISTENER_SCHEMA: SCHEMA } = process.env
const CURSOR = process.env.LISTENER_CURSOR || 'cursor'
const CHANNEL = process.env.LISTENER_CHANNEL || 'cloudwalk_alerts'
const POLL_MS = Number(process.env.LISTENER_POLL || 60) * 1000

const BATCH = 1000
const HTTP_TIMEOUT_MS = 10_000
const LONGEST_PAUSE_MS = 60_000
// Missing so many heartbeats, the connection is taken for dead, whatever TCP thinks of it.
const MISSED = 3
const CONNECTION = {
  application_name: 'cloudwalk_listener',
  connectionTimeoutMillis: 10_000,
  query_timeout: 60_000,
  keepAlive: true,
  keepAliveInitialDelayMillis: 30_000,
}

const named = (relation) => (SCHEMA ? `${escapeIdentifier(SCHEMA)}.` : '') + escapeIdentifier(relation)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Posts JSON. What the receiver refuses for good is logged and given up: it would refuse it again.
async function post (url, body) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(HTTP_TIMEOUT_MS),
  })
  await answer.arrayBuffer()
  if (answer.ok) return
  if (answer.status >= 400 && answer.status < 500 && ![408, 429].includes(answer.status)) {
    console.error(`refused with ${answer.status}: ${JSON.stringify(body)}`)
  } else {
    throw new Error(`the receiver answers ${answer.status}`)
  }
}

// An alert for people, in Slack's shape.
function message (alert) {
  const marks = { opened: '🔴', reopened: '🔴', escalated: '🔴', resolved: '🟢', retracted: '⚪' }
  let said = [alert.reason, alert.note].filter(Boolean).join(': ')
  const others = (alert.members || []).filter((m) => m.incident !== alert.incident).map((m) => m.series)
  if (others.length > 0) said += `\ntogether with ${others.join(', ')}`
  const text = `${marks[alert.event] || '🔵'} ${alert.event} ${alert.severity || ''} ${alert.monitor}: ${alert.series}\n${said}`
    .replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
  return { text: `${text}\nincident ${alert.incident}, alert ${alert.alert}, ${alert.time}` }
}

const fromNow = (ms) => new Date(Date.now() + ms).toISOString()

// An incident in Alertmanager's shape (POST /api/v2/alerts). Its labels are its identity.
function firing (incident, endsInMs, severity = incident.severity) {
  return {
    labels: {
      alertname: 'TransactionAnomaly',
      incident: String(incident.incident),
      monitor: incident.monitor,
      series: incident.series,
      direction: incident.direction > 0 ? 'above' : 'below',
      severity,
    },
    annotations: { summary: incident.reason || incident.series },
    endsAt: fromNow(endsInMs),
  }
}

class Listener {
  constructor (db) {
    this.db = db
    this.heardAt = Date.now()
    // Milliseconds without a notification after which the connection is taken for dead; known from a heartbeat.
    this.patience = null
    this.heard = []
    this.wake = () => {}
    this.broken = new Promise((_resolve, reject) => {
      db.on('error', reject)
      db.on('end', () => reject(new Error('the server closed the connection')))
    })
    // It may break while nobody waits for it.
    this.broken.catch(() => {})
    db.on('notification', (n) => {
      this.heardAt = Date.now()
      this.heard.push(JSON.parse(n.payload))
      this.wake()
    })
  }

  async readCursor () {
    try {
      this.cursor = Number(fs.readFileSync(CURSOR, 'utf8'))
    } catch (e) {
      if (e.code !== 'ENOENT') throw e
      const { rows } = await this.db.query(`SELECT coalesce(max(id), 0) AS last FROM ${named('alerts')}`)
      this.writeCursor(Number(rows[0].last))
    }
  }

  writeCursor (last) {
    fs.writeFileSync(CURSOR + '.new', String(last), { flush: true })
    fs.renameSync(CURSOR + '.new', CURSOR)
    this.cursor = last
  }

  // Passes on what is new.
  async readBacklog () {
    for (;;) {
      const query = `SELECT id, payload FROM ${named('alerts_since')}($1, $2)`
      const { rows } = await this.db.query(query, [this.cursor, BATCH])
      for (const { id, payload } of rows) {
        // A kind of row that has no payload is none of ours.
        if (payload) await this.passOn(payload)
        this.writeCursor(Number(id))
      }
      if (rows.length < BATCH) return
    }
  }

  async passOn (alert) {
    if (SLACK) await post(SLACK, message(alert))
    if (ALERTMANAGER && ['resolved', 'retracted'].includes(alert.event)) {
      // Under each severity it may have had.
      await post(ALERTMANAGER + '/api/v2/alerts', ['warning', 'critical'].map((s) => firing(alert, 0, s)))
    }
  }

  // Tells Alertmanager what goes on: it forgets what it is not told again.
  async refresh () {
    if (!ALERTMANAGER) return
    const { rows } = await this.db.query(
      `SELECT id AS incident, monitor, series, direction, severity::text AS severity, reason FROM ${named('incidents')}
        WHERE state IN ('open', 'acknowledged')`)
    if (rows.length > 0) await post(ALERTMANAGER + '/api/v2/alerts', rows.map((i) => firing(i, 3 * POLL_MS)))
  }

  // The monitor is alive: an alert that always fires. Let Alertmanager route it to whoever notices its absence.
  async onHeartbeat (beat) {
    this.patience = MISSED * beat.interval * 1000 || null
    if (!ALERTMANAGER) return
    const names = beat.status === 'ok' ? ['MonitorAlive'] : ['MonitorAlive', 'MonitorUnwell']
    await post(ALERTMANAGER + '/api/v2/alerts', names.map((alertname) => ({
      labels: { alertname, database: beat.database },
      annotations: { summary: beat.status },
      endsAt: fromNow(this.patience || POLL_MS),
    })))
  }

  // Until there is something to read, or it is time to look.
  async wait () {
    // What was just read came over this connection.
    this.heardAt = Date.now()
    const look = this.heardAt + POLL_MS
    for (;;) {
      for (const event of this.heard.splice(0)) {
        if (event.event !== 'heartbeat') return
        await this.onHeartbeat(event)
        if (event.last_alert > this.cursor) return
      }
      const dead = this.patience ? this.heardAt + this.patience : Infinity
      const now = Date.now()
      if (now >= look) return
      if (now > dead) throw new Error(`no heartbeat for ${this.patience} ms: the connection, or the monitor, is dead`)
      let timer
      const notified = new Promise((resolve) => {
        this.wake = resolve
        timer = setTimeout(resolve, Math.min(look, dead) - now + 1)
      })
      await Promise.race([notified, this.broken]).finally(() => clearTimeout(timer))
    }
  }

  async run () {
    await this.db.query(`LISTEN ${escapeIdentifier(CHANNEL)}`)
    console.error('listening')
    await this.readCursor()
    for (;;) {
      await this.readBacklog()
      await this.refresh()
      await this.wait()
    }
  }
}

async function main () {
  for (let pause = 1000; ;) {
    const began = Date.now()
    const db = new Client(CONNECTION)
    const listener = new Listener(db)
    try {
      await db.connect()
      await listener.run()
    } catch (e) {
      console.error(String(e))
    }
    // A dead peer does not answer a goodbye: the socket is closed without one.
    db.connection.stream.destroy()
    // Longer each time, unless it went well for a while; and not all listeners at once.
    pause = Date.now() - began > LONGEST_PAUSE_MS ? 1000 : Math.min(2 * pause, LONGEST_PAUSE_MS)
    await sleep(pause * (0.5 + Math.random() / 2))
  }
}

main()
