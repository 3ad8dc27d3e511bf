// Counts what was sold, until SIGTERM or Ctrl-C. Usage: node consume.mjs [URL]; without one, DATABASE_URL.

import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const client = new pg.Client({ connectionString: process.argv[2] ?? process.env.DATABASE_URL })

let stopping = false
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => { stopping = true })
}

async function sell(batch, { id, attempt, payload }) {
  const { item, count } = JSON.parse(payload)
  if (item === 'tea') {
    const sold = await client.query(
      'insert into sold as s values ($1, $2) on conflict (item) do update set count = s.count + $2 returning count',
      [item, count])
    console.log(`sold ${count} ${item}, ${sold.rows[0].count} in all`)
  } else { // it holds up nobody: it alone comes again, to this consumer only; with a delay of null it is given up
    const delay = attempt === 1 ? '1 second' : null
    await client.query("select trunkline.stream_retry($1, array[$2::bigint], $3, 'not in stock')", [batch, id, delay])
    console.log(`${item}: not in stock, ${delay ? 'it comes again' : 'given up'}`)
  }
}

await client.connect()
await client.query("select trunkline.stream_register('orders', 'stock')")
// A real one would not be temporary.
await client.query('create temp table sold (item text primary key, count bigint not null)')
console.log('consuming orders')
while (!stopping) {
  // Taken in a transaction of its own, so that it is known whose it is.
  const taken = await client.query("select batch from trunkline.stream_next_batch('orders', 'stock')")
  if (taken.rows.length === 0) {
    await sleep(200)
    continue
  }
  const { batch } = taken.rows[0]
  // Your writes and the end of the batch: when this is not committed, the batch comes again.
  await client.query('begin')
  try {
    const events = await client.query('select id, attempt, payload from trunkline.stream_events($1)', [batch])
    for (const event of events.rows) await sell(batch, event)
    await client.query('select trunkline.stream_finish($1)', [batch])
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}
await client.end()
console.log('stopped')
