// Places orders. Usage: node produce.mjs [URL]; without one, DATABASE_URL.

import pg from 'pg'

const client = new pg.Client({ connectionString: process.argv[2] ?? process.env.DATABASE_URL })

// In your own transaction the event goes out with your writes, or not at all.
async function place(item, count) {
  await client.query("select trunkline.stream_append_json('orders', $1, type => 'placed', key => $2)", [
    JSON.stringify({ item, count }), item,
  ])
}

await client.connect()
try {
  await place('tea', 3) // a transaction of its own
  console.log('placed: 3 tea')

  await client.query('begin')
  await place('unicorn', 1)
  await client.query('commit')
  console.log('placed: 1 unicorn')

  await client.query('begin')
  await place('sugar', 5)
  await client.query('rollback')
  console.log('taken back: 5 sugar')
} finally {
  await client.end()
}
