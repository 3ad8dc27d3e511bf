// Asks a shop for prices. Usage: node call.mjs [URL]; without one, DATABASE_URL.

import pg from 'pg'

const client = new pg.Client({ connectionString: process.argv[2] ?? process.env.DATABASE_URL })

// The request goes out with your own transaction, together with your writes; awaited after the commit.
async function sendAndAwait(channel, order, timeout = '30 seconds') {
  let request // a bigint, which pg gives as a string: leave it one
  await client.query('begin')
  try {
    const sent = await client.query('select trunkline.request_send($1, $2, timeout => $3) as id', [
      channel, JSON.stringify(order), timeout,
    ])
    request = sent.rows[0].id
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
  const ended = await client.query('select outcome, code, payload from trunkline.request_await($1)', [request])
  return ended.rows[0]
}

// Both in one statement, which commits by itself: only outside of a transaction.
async function call(channel, order) {
  const ended = await client.query('call trunkline.request_call($1, $2, null, null)', [channel, JSON.stringify(order)])
  return ended.rows[0]
}

await client.connect()
try {
  const tea = await sendAndAwait('price', { item: 'tea', count: 3 })
  console.log(`${tea.outcome}: 3 tea cost ${JSON.parse(tea.payload).cents} cents`)

  const sugar = await call('price', { item: 'sugar', count: 2 })
  console.log(`${sugar.outcome}: 2 sugar cost ${JSON.parse(sugar.reply).cents} cents`)

  const unicorn = await sendAndAwait('price', { item: 'unicorn', count: 1 })
  console.log(`${unicorn.outcome}: ${unicorn.code}, ${unicorn.payload}`)

  try {
    await sendAndAwait('bakery', { item: 'bread', count: 1 })
  } catch (error) {
    if (error.code !== 'TL012') throw error
    console.log(`no responder: ${error.message}`)
  }

  const antique = await sendAndAwait('price', { item: 'antique', count: 1 }, '1 second')
  console.log(antique.outcome)
} finally {
  await client.end()
}
