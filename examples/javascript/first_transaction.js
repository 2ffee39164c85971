// SPDX-License-Identifier: AGPL-3.0-or-later
// Register a thing, sell it, and read back who owns it, with the published bigchaindb-driver.
// Usage: node first_transaction.js [URL of the node, by default http://localhost:9984]
'use strict'

const { Connection, Ed25519Keypair, Transaction } = require('bigchaindb-driver')

const url = process.argv[2] ?? 'http://localhost:9984'
const node = new Connection(`${url}/api/v1/`)
const alice = new Ed25519Keypair()
const bob = new Ed25519Keypair()

const ownedBy = (keypair) => Transaction.makeOutput(Transaction.makeEd25519Condition(keypair.publicKey))

async function main() {
    // 1. Alice registers her bicycle: make a CREATE, sign it with her key, and wait until it is in a block.
    const frame = `frame${Date.now()}`
    const bicycle = { kind: 'bicycle', frame }
    const draft = Transaction.makeCreateTransaction(bicycle, { state: 'like new' }, [ownedBy(alice)], alice.publicKey)
    const created = Transaction.signTransaction(draft, alice.privateKey)
    await node.postTransactionCommit(created)
    console.log('created', created.id)

    // 2. She sells it to Bob: a TRANSFER spends the output that she owns and makes one that he owns.
    const hers = [{ tx: created, output_index: 0 }]
    const sale = Transaction.makeTransferTransaction(hers, [ownedBy(bob)], { price: '100 euro' })
    const sold = Transaction.signTransaction(sale, alice.privateKey)
    await node.postTransactionCommit(sold)
    console.log('sold', sold.id)

    // 3. Anybody can look it up.
    console.log('block', (await node.listBlocks(sold.id))[0])
    console.log('unspent outputs of Bob', JSON.stringify(await node.listOutputs(bob.publicKey, false)))
    console.log('history', (await node.listTransactions(created.id)).map((one) => one.operation))
    console.log('found by word', JSON.stringify(await node.searchAssets(frame)))

    // 4. Selling the same bicycle twice is refused.
    const again = Transaction.makeTransferTransaction(hers, [ownedBy(new Ed25519Keypair())], null)
    await node.postTransactionCommit(Transaction.signTransaction(again, alice.privateKey)).catch((refusal) => {
        console.log('refused', refusal.status)
    })
}

main().catch((error) => {
    console.error(error)
    process.exitCode = 1
})
