// SPDX-License-Identifier: AGPL-3.0-or-later
// bigchaindb-driver 4.3.0 from npm: the whole story, one JSON line per step; the argument is the node's URL.
'use strict'

const assert = require('node:assert/strict')
const crypto = require('node:crypto')
const { setTimeout: sleep } = require('node:timers/promises')
const base58 = require('bs58')
const { Ed25519Sha256, ThresholdSha256 } = require('crypto-conditions')
const driver = require('bigchaindb-driver')
const WebSocket = require('ws')

const PATIENCE = 30_000 // milliseconds until something that must happen is given up
const POLL_INTERVAL = 50

const nodeUrl = process.argv[2]
const run = crypto.randomUUID().replaceAll('-', '') // makes the assets and search words of each run its own
const node = new driver.Connection(`${nodeUrl}/api/v1/`)
const { Transaction } = driver
const [alice, bob, carol] = [1, 2, 3].map(() => new driver.Ed25519Keypair())
const committed = new Map() // transaction id -> asset id
const made = {} // transactions that later steps come back to
let subscriber

const word = (label) => label.replaceAll(' ', '') + run
const asset = (label) => ({ label, word: word(label), town: 'Zürich ☂ 𝔘', n: [1, 2.5] })
const metadata = (label) => ({ note: `about ${word(label)}`, none: null })

function output(owner, amount = '1') {
    return Transaction.makeOutput(Transaction.makeEd25519Condition(owner.publicKey), amount)
}

function create(label, outputs, ...signers) {
    const issuers = signers.map((signer) => signer.publicKey)
    return Transaction.makeCreateTransaction(asset(label), metadata(label), outputs, ...issuers)
}

function sign(transaction, ...signers) {
    return Transaction.signTransaction(transaction, ...signers.map((signer) => signer.privateKey))
}

function transfer(spent, outputs, note = null) {
    const unspent = spent.map(([tx, index]) => ({ tx, output_index: index }))
    return Transaction.makeTransferTransaction(unspent, outputs, note)
}

// The driver signs thresholds through a callback only; the pieces come from the package that it uses itself.
function signAsThreshold(transaction, ...signers) {
    return Transaction.delegateSignTransaction(transaction, (canonical, input) => {
        const spent = input.fulfills ? input.fulfills.transaction_id + input.fulfills.output_index : ''
        const message = crypto.createHash('sha3-256').update(canonical + spent).digest()
        const threshold = new ThresholdSha256()
        threshold.setThreshold(signers.length)
        for (const signer of signers) {
            const leaf = new Ed25519Sha256()
            leaf.sign(message, Buffer.from(base58.decode(signer.privateKey)))
            threshold.addSubfulfillment(leaf)
        }
        return threshold.serializeUri()
    })
}

async function commit(transaction) {
    assert.deepEqual(await node.postTransactionCommit(transaction), transaction)
    committed.set(transaction.id, transaction.asset.id ?? transaction.id)
    return transaction
}

async function refused(transaction) {
    for (const post of ['postTransactionAsync', 'postTransactionSync', 'postTransactionCommit']) {
        // Programs compare this text: code and reason phrase of the status line.
        await assert.rejects(node[post](transaction), { status: '400 BAD REQUEST' }, post)
    }
}

// The driver hands out no message of a refusal, so its reason is read with a request of our own.
async function reason(transaction) {
    const answer = await fetch(`${nodeUrl}/api/v1/transactions`, {
        method: 'POST',
        body: JSON.stringify(transaction),
    })
    return (await answer.json()).message
}

async function eventually(ask, what) {
    const deadline = Date.now() + PATIENCE
    for (;;) {
        const answer = await ask()
        if (answer) return answer
        assert.ok(Date.now() < deadline, `in vain waited for: ${what}`)
        await sleep(POLL_INTERVAL)
    }
}

async function unspent(owner) {
    const outputs = await node.listOutputs(owner.publicKey, false)
    return outputs.map((one) => `${one.transaction_id}:${one.output_index}`)
}

async function createInMode(mode) {
    const transaction = sign(create(`bicycle ${mode}`, [output(alice)], alice), alice)
    assert.deepEqual(await node[`postTransaction${mode}`](transaction), transaction)
    await eventually(
        () => node.getTransaction(transaction.id).catch((error) => assert.equal(error.status, '404 NOT FOUND')),
        `commit after postTransaction${mode}`
    )
    committed.set(transaction.id, transaction.id)
}

class Subscriber {
    constructor(url) {
        this.messages = []
        this.socket = new WebSocket(url)
        this.socket.on('message', (data, isBinary) => {
            assert.equal(isBinary, false, 'a stream message was not text')
            this.messages.push(JSON.parse(data.toString()))
        })
    }

    opened() {
        return new Promise((resolve, reject) => {
            this.socket.once('open', resolve)
            this.socket.once('error', reject)
        })
    }

    about(ids) {
        return this.messages.filter((message) => ids.includes(message.transaction_id))
    }
}

const steps = {
    async stream_opened() {
        // The driver knows nothing of streams: an ordinary client opens the advertised URL.
        const { streams } = await (await fetch(`${nodeUrl}/api/v1`)).json()
        subscriber = new Subscriber(streams)
        await subscriber.opened()
        return { streams }
    },

    create_async: () => createInMode('Async'),

    create_sync: () => createInMode('Sync'),

    async create_commit() {
        made.bicycle = await commit(sign(create('bicycle', [output(alice)], alice), alice))
        const plain = sign(create('plain post', [output(alice)], alice), alice)
        assert.deepEqual(await node.postTransaction(plain), plain)
        committed.set(plain.id, plain.id)
        assert.deepEqual(await node.getTransaction(plain.id), plain) // plain post is a commit in this driver
    },

    async retrieve() {
        assert.deepEqual(await node.getTransaction(made.bicycle.id), made.bicycle)
    },

    async divisible_transfer() {
        made.coins = await commit(sign(create('coins', [output(alice, '10')], alice), alice))
        const parts = [output(bob, '4'), output(alice, '6')]
        made.split = await commit(sign(transfer([[made.coins, 0]], parts, { note: 'split' }), alice))
        assert.ok((await unspent(bob)).includes(`${made.split.id}:0`))
        assert.ok((await unspent(alice)).includes(`${made.split.id}:1`))
        assert.ok(!(await unspent(alice)).includes(`${made.coins.id}:0`))

        const tooMuch = sign(transfer([[made.split, 0]], [output(carol, '5')]), bob)
        await refused(tooMuch)
        assert.match(await reason(tooMuch), /^Invalid transaction \(AmountError\)/)
    },

    async merge_of_outputs() {
        const spent = [[made.split, 0], [made.split, 1]]
        const merged = await commit(sign(transfer(spent, [output(carol, '10')]), bob, alice))
        assert.deepEqual(await unspent(carol), [`${merged.id}:0`])
    },

    async threshold_owners() {
        const leaves = [alice, bob].map((one) => Transaction.makeEd25519Condition(one.publicKey, false))
        const both = Transaction.makeOutput(Transaction.makeThresholdCondition(2, leaves))
        assert.deepEqual([...both.public_keys].sort(), [alice.publicKey, bob.publicKey].sort())
        const shared = await commit(sign(create('shared car', [both], alice), alice))
        made.shared = shared
        assert.ok((await unspent(alice)).includes(`${shared.id}:0`))
        assert.ok((await unspent(bob)).includes(`${shared.id}:0`))
        const sold = await commit(signAsThreshold(transfer([[shared, 0]], [output(carol)]), alice, bob))
        assert.ok(!(await unspent(bob)).includes(`${shared.id}:0`))
        assert.ok((await unspent(carol)).includes(`${sold.id}:0`))
    },

    async several_signers() {
        // makeCreateTransaction gives each issuer an input of its own, which no server accepts, so the one
        // input that is demanded is made with the driver's template for inputs.
        const joint = create('joint work', [output(alice)])
        joint.inputs = [Transaction.makeInputTemplate([alice.publicKey, bob.publicKey])]
        await commit(signAsThreshold(joint, alice, bob))
    },

    async delegated_signing() {
        const prepared = create('signed elsewhere', [output(alice)], alice)
        const signed = await Transaction.delegateSignTransactionAsync(prepared, async (canonical) => {
            const leaf = new Ed25519Sha256()
            const message = crypto.createHash('sha3-256').update(canonical).digest()
            leaf.sign(message, Buffer.from(base58.decode(alice.privateKey)))
            return leaf.serializeUri()
        })
        await commit(signed)
    },

    async double_spend() {
        const first = sign(transfer([[made.bicycle, 0]], [output(bob)]), alice)
        const second = sign(transfer([[made.bicycle, 0]], [output(carol)]), alice)
        made.sold = await commit(first)
        await refused(second)
        assert.match(await reason(second), /^Invalid transaction \(DoubleSpend\)/)
        made.refused = second
    },

    async duplicate() {
        await refused(made.bicycle)
        assert.match(await reason(made.bicycle), /^Invalid transaction \(DuplicateTransaction\)/)
    },

    async tampered() {
        const forged = { ...made.bicycle, metadata: { note: 'forged' } }
        await refused(forged)
        assert.match(await reason(forged), /^Invalid transaction \(InvalidHash\)/)
        const stolen = sign(transfer([[made.sold, 0]], [output(carol)]), carol)
        await refused(stolen)
        assert.match(await reason(stolen), /^Invalid transaction \(InvalidSignature\)/)
    },

    async not_found() {
        const missing = '0'.repeat(64)
        const refusal = { status: '404 NOT FOUND', requestURI: `${nodeUrl}/api/v1/transactions/${missing}` }
        await assert.rejects(node.getTransaction(missing), refusal)
        await assert.rejects(node.getTransaction(made.refused.id), { status: '404 NOT FOUND' })
        assert.deepEqual(await node.listBlocks(missing), [])
    },

    async outputs() {
        const every = await node.listOutputs(alice.publicKey)
        const spent = await node.listOutputs(alice.publicKey, true)
        const rest = await node.listOutputs(alice.publicKey, false)
        const names = (list) => list.map((one) => `${one.transaction_id}:${one.output_index}`).sort()
        assert.deepEqual(names([...spent, ...rest]), names(every))
        assert.ok(names(spent).includes(`${made.bicycle.id}:0`))
        assert.deepEqual(await node.listOutputs(new driver.Ed25519Keypair().publicKey), [])
    },

    async transactions_by_asset() {
        const { bicycle, sold } = made
        assert.deepEqual(await node.listTransactions(bicycle.id), [bicycle, sold])
        assert.deepEqual(await node.listTransactions(bicycle.id, 'CREATE'), [bicycle])
        assert.deepEqual(await node.listTransactions(bicycle.id, 'TRANSFER'), [sold])
        assert.deepEqual(await node.listTransactions('0'.repeat(64)), [])
    },

    async blocks() {
        const heights = await node.listBlocks(made.bicycle.id)
        assert.equal(heights.length, 1)
        assert.equal(typeof heights[0], 'number')
        const block = await node.getBlock(heights[0])
        assert.equal(block.height, heights[0])
        assert.deepEqual(block.transactions.find((one) => one.id === made.bicycle.id), made.bicycle)
        await assert.rejects(node.getBlock(heights[0] + 1_000_000), { status: '404 NOT FOUND' })
        return { height: heights[0] }
    },

    async asset_search() {
        const found = await node.searchAssets(word('shared car'))
        assert.deepEqual(found, [{ data: asset('shared car'), id: made.shared.id }])
        assert.deepEqual(await node.searchAssets(word('shared car'), 1), found)
        assert.deepEqual(await node.searchAssets('neverwrittenword'), [])
    },

    async metadata_search() {
        const found = await node.searchMetadata(word('shared car'))
        assert.deepEqual(found, [{ metadata: metadata('shared car'), id: made.shared.id }])
        assert.deepEqual(await node.searchMetadata(word('shared car'), 1), found)
        assert.deepEqual(await node.searchMetadata('neverwrittenword'), [])
    },

    async event_stream() {
        const ids = [...committed.keys()]
        await eventually(
            () => ids.every((id) => subscriber.about([id]).length > 0),
            `stream messages for ${ids.length} transactions`
        )
        const messages = subscriber.about(ids)
        assert.deepEqual(messages.map((one) => one.transaction_id), ids, 'each once, in the order of the commits')
        for (const message of messages) {
            assert.equal(message.asset_id, committed.get(message.transaction_id))
            assert.deepEqual([message.height], await node.listBlocks(message.transaction_id))
        }
        assert.deepEqual(subscriber.about([made.refused.id]), [])
        subscriber.socket.close()
        return { messages: messages.length }
    },
}

async function main() {
    for (const [step, act] of Object.entries(steps)) {
        const line = { driver: 'bigchaindb-driver 4.3.0 (npm)', step, ok: true }
        try {
            line.seen = (await act()) ?? null
        } catch (error) {
            line.ok = false
            line.error = `${error.name}: ${error.message} ${error.status ?? ''}`
            console.error(error)
        }
        console.log(JSON.stringify(line))
        if (!line.ok) return 1
    }
    return 0
}

main().then((code) => process.exit(code))
