// SPDX-License-Identifier: AGPL-3.0-or-later
// Print every committed transaction the moment it is in a block, until Ctrl-C.
// Usage: node watch.js [URL of the node, by default http://localhost:9984]
'use strict'

const WebSocket = require('ws')

const url = process.argv[2] ?? 'http://localhost:9984'

async function main() {
    // The node says itself where its stream is.
    const { streams } = await (await fetch(`${url}/api/v1`)).json()
    const stream = new WebSocket(streams)
    stream.on('open', () => console.log('watching', streams))
    stream.on('message', (data) => {
        const event = JSON.parse(data)
        console.log(`block ${event.height}: transaction ${event.transaction_id}`)
    })
    stream.on('close', () => console.log('stopped'))
    process.on('SIGINT', () => stream.close())
}

main().catch((error) => {
    console.error(error)
    process.exitCode = 1
})
