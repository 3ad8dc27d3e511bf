// Adds up what is sold, as it is told, until SIGTERM or Ctrl-C. Usage: node subscribe.mjs [URL]; without one, DATABASE_URL.

import pg from 'pg'

const TOPICS = ['sales.*']
const client = new pg.Client({ connectionString: process.argv[2] ?? process.env.DATABASE_URL })

let stopping = false
let rung = false
let wake = () => {}
client.on('notification', () => { rung = true; wake() })
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => { stopping = true; wake() })
}

// The next messages, added up in the transaction that keeps the place behind them. How many.
async function read() {
  await client.query('begin')
  try {
    const { rows: [till] } = await client.query('select cents, place from till for update')
    const { rows } = await client.query(
      'select next, gap_since, topic, payload from trunkline.topic_read($1, $2)', [TOPICS, till.place])
    let cents = Number(till.cents)
    for (const { gap_since: missed, topic, payload } of rows) {
      if (missed) {
        console.log('something was sold that nobody told us')
      } else if (topic) {
        const sold = JSON.parse(payload).cents
        cents += sold
        console.log(`${topic}: ${sold} cents, ${cents} in all`)
      }
    }
    await client.query('update till set cents = $1, place = $2', [cents, rows[0].next])
    await client.query('commit')
    return rows.filter((row) => row.topic).length
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

await client.connect()
// A real one would not be temporary, and who starts again would go on from its place.
await client.query('create temp table till (cents bigint not null, place text not null)')
await client.query('insert into till select 0, next from trunkline.topic_read($1)', [TOPICS])
await client.query('select trunkline.topic_listen($1)', [TOPICS])
console.log('listening')
while (!stopping) {
  rung = false
  if (await read() > 0 || rung || stopping) continue
  await new Promise((resolve) => {
    wake = resolve
    setTimeout(resolve, 2000).unref()
  })
}
await client.end()
console.log('stopped')
