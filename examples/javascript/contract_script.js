// SPDX-License-Identifier: AGPL-3.0-or-later
// An invoice that every node has checked: a script in a transaction, with the published bigchaindb-driver.
// The driver makes transactions of version 2.0; it signs and sends those of 3.0 just as well.
// Usage: node contract_script.js [URL of the node, by default http://localhost:9984]
'use strict'

const { Connection, Ed25519Keypair, Transaction } = require('bigchaindb-driver')

const INVOICE = `\
Given I have a 'number' named 'quantity'
and I have a 'number' named 'price'
and I have a 'number' named 'limit'
When I create the result of 'quantity' * 'price'
and I rename the 'result' to 'total'
and I verify number 'total' is less or equal than 'limit'
Then print the 'total'
`

const url = process.argv[2] ?? 'http://localhost:9984'
const node = new Connection(`${url}/api/v1/`)
const alice = new Ed25519Keypair()

// A signed CREATE whose script says what the total is.
function invoice(inputs, total) {
    const output = Transaction.makeOutput(Transaction.makeEd25519Condition(alice.publicKey))
    const { asset, ...draft } = Transaction.makeCreateTransaction(null, null, [output], alice.publicKey)
    const script = { code: INVOICE, state: '0'.repeat(64), inputs, outputs: { total } }
    return Transaction.signTransaction({ ...draft, version: '3.0', assets: [asset], script }, alice.privateKey)
}

async function main() {
    // 1. Three at 40 each: the script says 120, and so does the transaction.
    const good = invoice({ quantity: 3, price: 40, limit: 150 }, 120)
    await node.postTransactionCommit(good)
    console.log('committed', good.id, JSON.stringify((await node.getTransaction(good.id)).script.outputs))

    // 2. A wrong total, and one above the limit, are refused by every node.
    for (const wrong of [
        invoice({ quantity: 3, price: 40, limit: 150 }, 119),
        invoice({ quantity: 4, price: 40, limit: 150 }, 160),
    ]) {
        await node.postTransactionCommit(wrong).catch((refusal) => console.log('refused', refusal.status))
    }
}

main().catch((error) => {
    console.error(error)
    process.exitCode = 1
})
