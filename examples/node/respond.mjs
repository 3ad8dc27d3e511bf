// Quotes prices, until SIGTERM or Ctrl-C. Usage: node respond.mjs [URL]; without one, DATABASE_URL.

import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const EACH = { tea: 450, sugar: 120, antique: 99_000 }
const client = new pg.Client({ connectionString: process.argv[2] ?? process.env.DATABASE_URL })

let stopping = false
let bell = new AbortController() // rung by a notification, and by the signal to stop
client.on('notification', () => bell.abort())
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    stopping = true
    bell.abort()
  })
}

// The work itself: the price, or undefined for what is not sold. No transaction is open meanwhile.
async function quote(order) {
  if (order.item === 'antique') await sleep(1500) // longer than its caller waits
  if (Object.hasOwn(EACH, order.item)) return { cents: EACH[order.item] * order.count }
}

async function settle({ claim, payload }) {
  let statement
  try {
    const order = JSON.parse(payload)
    const price = await quote(order)
    statement = price
      ? ['select trunkline.request_reply($1, $2)', [claim, JSON.stringify(price)]]
      : ['select trunkline.request_fail($1, $2, $3)', [claim, 'unknown item', `we do not sell ${order.item}`]]
  } catch (error) { // whatever happens, the caller hears of it
    statement = ['select trunkline.request_fail($1, $2, $3)', [claim, 'error', String(error)]]
  }
  await client.query('begin')
  try { // your own writes belong in here: they commit with the reply, or not at all
    await client.query(...statement)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    if (error.code !== 'TL001') throw error
    console.log('late: nobody waits any more, nothing was written')
  }
}

await client.connect()
// In this order nothing is lost: serve, listen, take until there is nothing, and only then wait.
const served = await client.query("select trunkline.request_serve('price') as bell")
await client.query(`listen ${served.rows[0].bell}`)
console.log('serving price')
while (!stopping) {
  bell = new AbortController() // from here on a ring is remembered
  const taken = await client.query("select claim, payload from trunkline.request_take('price')")
  if (taken.rows.length > 0) {
    await settle(taken.rows[0])
  } else { // a notification is only a hint, so look again after a second
    await sleep(1000, undefined, { signal: bell.signal }).catch(() => {})
  }
}
await client.end()
console.log('stopped')
