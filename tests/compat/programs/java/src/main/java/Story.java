// SPDX-License-Identifier: AGPL-3.0-or-later

import com.bigchaindb.api.AssetsApi;
import com.bigchaindb.api.BlocksApi;
import com.bigchaindb.api.MetaDataApi;
import com.bigchaindb.api.OutputsApi;
import com.bigchaindb.api.TransactionsApi;
import com.bigchaindb.api.ValidatorsApi;
import com.bigchaindb.builders.BigchainDbConfigBuilder;
import com.bigchaindb.builders.BigchainDbTransactionBuilder;
import com.bigchaindb.builders.BigchainDbTransactionBuilder.ITransactionAttributes;
import com.bigchaindb.constants.Operations;
import com.bigchaindb.cryptoconditions.Fulfillment;
import com.bigchaindb.cryptoconditions.types.Ed25519Sha256Condition;
import com.bigchaindb.cryptoconditions.types.Ed25519Sha256Fulfillment;
import com.bigchaindb.cryptoconditions.types.ThresholdSha256Condition;
import com.bigchaindb.cryptoconditions.types.ThresholdSha256Fulfillment;
import com.bigchaindb.model.Block;
import com.bigchaindb.model.Condition;
import com.bigchaindb.model.Details;
import com.bigchaindb.model.FulFill;
import com.bigchaindb.model.GenericCallback;
import com.bigchaindb.model.Input;
import com.bigchaindb.model.MetaData;
import com.bigchaindb.model.Output;
import com.bigchaindb.model.Outputs;
import com.bigchaindb.model.Transaction;
import com.bigchaindb.util.DriverUtils;
import com.bigchaindb.util.JsonUtils;
import com.bigchaindb.util.KeyPairUtils;
import com.google.api.client.util.Base64;
import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonSerializer;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import net.i2p.crypto.eddsa.EdDSAEngine;
import net.i2p.crypto.eddsa.EdDSAPrivateKey;
import net.i2p.crypto.eddsa.EdDSAPublicKey;
import okhttp3.Response;

/**
 * com.bigchaindb:bigchaindb-driver 1.2 from Maven: the whole story, one JSON line per step.
 *
 * <p>Everything that the driver offers is used as it is published: its builders, its API classes and its own
 * stream client. It has no `mode` (the server's default applies), signs one input with one key and has no
 * thresholds; these are put together from its model classes and the crypto-conditions package that it uses.
 */
public final class Story {
    private static final long PATIENCE = 30_000; // milliseconds until something that must happen is given up
    private static final long POLL_INTERVAL = 50;
    private static final String MISSING = "0".repeat(64);

    private final String run = UUID.randomUUID().toString().replace("-", "");
    private final Owner alice = new Owner();
    private final Owner bob = new Owner();
    private final Owner carol = new Owner();
    private final List<JsonObject> messages = new CopyOnWriteArrayList<>();
    private final Map<String, String> committed = new LinkedHashMap<>(); // transaction id -> asset id
    private Transaction bicycle;
    private Transaction sold;
    private Transaction split;
    private Transaction shared;
    private String refused;

    /** A key pair with the types that the driver wants. */
    private static final class Owner {
        final EdDSAPublicKey publicKey;
        final EdDSAPrivateKey privateKey;
        final String text;

        Owner() {
            KeyPair pair = KeyPairUtils.generateNewKeyPair();
            publicKey = (EdDSAPublicKey) pair.getPublic();
            privateKey = (EdDSAPrivateKey) pair.getPrivate();
            text = KeyPairUtils.encodePublicKeyInBase58(publicKey);
        }
    }

    /** Details of a threshold condition, which the driver's own class cannot express. */
    private static final class ThresholdDetails extends Details {
        final transient List<Details> leaves = new ArrayList<>();
    }

    private interface Step {
        Object act() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        // The driver's stream client reads standard input until somebody types "exit": give it one that waits.
        System.setIn(new PipedInputStream(new PipedOutputStream()));
        JsonUtils.addTypeAdapterSerializer(ThresholdDetails.class, thresholdSerializer());
        System.exit(new Story().tell(arguments[0]));
    }

    private int tell(String url) {
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("connected", () -> connected(url));
        steps.put("create_async", this::createAsync);
        steps.put("create_with_callback", this::createWithCallback);
        steps.put("retrieve", this::retrieve);
        steps.put("divisible_transfer", this::divisibleTransfer);
        steps.put("threshold_owners", this::thresholdOwners);
        steps.put("several_signers", this::severalSigners);
        steps.put("double_spend", this::doubleSpend);
        steps.put("duplicate", this::duplicate);
        steps.put("tampered", this::tampered);
        steps.put("not_found", this::notFound);
        steps.put("outputs", this::outputs);
        steps.put("transactions_by_asset", this::transactionsByAsset);
        steps.put("blocks", this::blocks);
        steps.put("asset_search", this::assetSearch);
        steps.put("metadata_search", this::metadataSearch);
        steps.put("validators", this::validators);
        steps.put("event_stream", this::eventStream);
        Gson gson = new Gson();
        for (Map.Entry<String, Step> step : steps.entrySet()) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("driver", "bigchaindb-driver 1.2 (Maven)");
            line.put("step", step.getKey());
            line.put("ok", true);
            try {
                line.put("seen", step.getValue().act());
            } catch (Exception | AssertionError error) {
                line.put("ok", false);
                line.put("error", error.toString());
                error.printStackTrace();
            }
            System.out.println(gson.toJson(line));
            if (line.get("ok").equals(false)) {
                return 1;
            }
        }
        return 0;
    }

    // --- steps ----------------------------------------------------------------------------------------------

    private Object connected(String url) throws Exception {
        BigchainDbConfigBuilder.baseUrl(url)
                .webSocketMonitor(message -> messages.add(new JsonParser().parse(message).getAsJsonObject()))
                .setup();
        // The driver opens its stream in the background and does not say when it is open, so transactions are
        // sent until one of them is heard of. These are not counted afterwards.
        eventually("the first stream message", () -> {
            post(create("are you there " + System.nanoTime(), alice).buildAndSignOnly(alice.publicKey, alice.privateKey));
            Thread.sleep(POLL_INTERVAL);
            return !messages.isEmpty();
        });
        return null;
    }

    private Object createAsync() throws Exception {
        bicycle = create("bicycle", alice)
                .buildAndSign(alice.publicKey, alice.privateKey)
                .sendTransaction();
        awaitCommit(bicycle);
        return null;
    }

    private Object createWithCallback() throws Exception {
        BlockingQueue<String> answers = new LinkedBlockingQueue<>();
        Transaction sent = create("bell", alice)
                .buildAndSign(alice.publicKey, alice.privateKey)
                .sendTransaction(callback(answers));
        String answer = answers.poll(PATIENCE, TimeUnit.MILLISECONDS);
        check(answer != null && answer.startsWith("202 "), "answer to a good transaction: " + answer);
        equal(new JsonParser().parse(answer.substring(4)).getAsJsonObject().get("id").getAsString(), sent.getId(), "id");
        awaitCommit(sent);
        return null;
    }

    private Object retrieve() throws Exception {
        Transaction found = TransactionsApi.getTransactionById(bicycle.getId());
        equal(unquoted(found.getId()), bicycle.getId(), "id");
        equal(unquoted(found.getOperation()), "CREATE", "operation");
        equal(unquoted(found.getVersion()), "2.0", "version");
        equal(found.getAsset().getData(), asset("bicycle"), "asset data");
        equal(found.getMetaData(), metadata("bicycle").getMetadata(), "metadata");
        equal(found.getInputs().get(0).getFullFillment(), bicycle.getInputs().get(0).getFullFillment(), "fulfillment");
        equal(found.getInputs().get(0).getOwnersBefore(), List.of(alice.text), "owners");
        equal(found.getOutputs().get(0).getCondition().getUri(), bicycle.getOutputs().get(0).getCondition().getUri(), "uri");
        return null;
    }

    private Object divisibleTransfer() throws Exception {
        Transaction coins = create("coins", null).addOutput("10", alice.publicKey)
                .buildAndSign(alice.publicKey, alice.privateKey).sendTransaction();
        awaitCommit(coins);
        split = transfer(coins.getId(), coins, 0, alice)
                .addOutput("4", bob.publicKey).addOutput("6", alice.publicKey)
                .buildAndSign(alice.publicKey, alice.privateKey).sendTransaction();
        awaitCommit(split);
        check(unspent(bob).contains(split.getId() + ":0"), "Bob does not own his part");
        check(unspent(alice).contains(split.getId() + ":1"), "Alice does not own the change");
        check(!unspent(alice).contains(coins.getId() + ":0"), "the split output is still unspent");
        Transaction tooMuch = transfer(coins.getId(), split, 0, bob).addOutput("5", carol.publicKey)
                .buildAndSignOnly(bob.publicKey, bob.privateKey);
        demandRefusal(tooMuch, "Invalid transaction (AmountError)");
        return null;
    }

    private Object thresholdOwners() throws Exception {
        ThresholdDetails details = new ThresholdDetails();
        var leaves = new com.bigchaindb.cryptoconditions.Condition[2];
        Output both = new Output();
        for (Owner owner : List.of(alice, bob)) {
            Details leaf = new Details();
            leaf.setPublicKey(owner.text);
            leaf.setType("ed25519-sha-256");
            leaves[details.leaves.size()] = new Ed25519Sha256Condition(owner.publicKey);
            details.leaves.add(leaf);
            both.addPublicKey(owner.text);
        }
        both.setAmount("1");
        both.setCondition(new Condition(details, new ThresholdSha256Condition(2, leaves).getUri().toString()));

        shared = create("shared car", alice).buildOnly(alice.publicKey);
        shared.getOutputs().set(0, both);
        signByAll(shared, alice);
        post(shared);
        awaitCommit(shared);
        check(unspent(alice).contains(shared.getId() + ":0"), "Alice does not own the shared car");
        check(unspent(bob).contains(shared.getId() + ":0"), "Bob does not own the shared car");

        Transaction gone = transfer(shared.getId(), shared, 0, alice).addOutput("1", carol.publicKey).buildOnly(alice.publicKey);
        gone.getInputs().get(0).addOwner(bob.text);
        signByAll(gone, alice, bob);
        post(gone);
        awaitCommit(gone);
        check(!unspent(bob).contains(shared.getId() + ":0"), "the shared car is still Bob's");
        check(unspent(carol).contains(gone.getId() + ":0"), "the shared car is not Carol's");
        return null;
    }

    private Object severalSigners() throws Exception {
        Transaction joint = create("joint work", alice).buildOnly(alice.publicKey);
        joint.getInputs().get(0).addOwner(bob.text);
        signByAll(joint, alice, bob);
        post(joint);
        awaitCommit(joint);
        return null;
    }

    private Object doubleSpend() throws Exception {
        sold = transfer(bicycle.getId(), bicycle, 0, alice).addOutput("1", bob.publicKey)
                .buildAndSign(alice.publicKey, alice.privateKey).sendTransaction();
        awaitCommit(sold);
        Transaction again = transfer(bicycle.getId(), bicycle, 0, alice).addOutput("1", carol.publicKey)
                .buildAndSignOnly(alice.publicKey, alice.privateKey);
        refused = again.getId();
        demandRefusal(again, "Invalid transaction (DoubleSpend)");
        return null;
    }

    private Object duplicate() throws Exception {
        demandRefusal(bicycle, "Invalid transaction (DuplicateTransaction)");
        return null;
    }

    private Object tampered() throws Exception {
        Transaction forged = create("to be forged", alice).buildAndSignOnly(alice.publicKey, alice.privateKey);
        forged.setMetaData(metadata("forged"));
        demandRefusal(forged, "Invalid transaction (InvalidHash)");
        Transaction stolen = transfer(bicycle.getId(), sold, 0, carol).addOutput("1", carol.publicKey)
                .buildAndSignOnly(carol.publicKey, carol.privateKey);
        demandRefusal(stolen, "Invalid transaction (InvalidSignature)");
        return null;
    }

    private Object notFound() throws Exception {
        check(!isCommitted(MISSING), "a transaction that was never sent is there");
        check(!isCommitted(refused), "a refused transaction is there");
        equal(BlocksApi.getBlocksByTransactionId(MISSING), List.of(), "blocks of an unknown transaction");
        return null;
    }

    private Object outputs() throws Exception {
        var every = new TreeSet<>(names(OutputsApi.getOutputs(alice.text)));
        var spent = names(OutputsApi.getSpentOutputs(alice.text));
        var together = new TreeSet<>(unspent(alice));
        check(spent.stream().allMatch(together::add), "an output is both spent and unspent");
        equal(together, every, "spent and unspent outputs together");
        check(spent.contains(bicycle.getId() + ":0"), "the sold bicycle is not among the spent outputs");
        equal(names(OutputsApi.getOutputs(new Owner().text)), List.of(), "outputs of a stranger");
        return null;
    }

    private Object transactionsByAsset() throws Exception {
        equal(ids(bicycle.getId(), Operations.CREATE), List.of(bicycle.getId()), "CREATE of the asset");
        equal(ids(bicycle.getId(), Operations.TRANSFER), List.of(sold.getId()), "TRANSFER of the asset");
        equal(ids(MISSING, Operations.TRANSFER), List.of(), "transactions of an unknown asset");
        return null;
    }

    private Object blocks() throws Exception {
        List<String> heights = BlocksApi.getBlocksByTransactionId(bicycle.getId());
        equal(heights.size(), 1, "number of blocks with the transaction");
        Block block = BlocksApi.getBlock(heights.get(0));
        equal(String.valueOf(block.getHeight()), heights.get(0), "height");
        check(block.getTransactions().stream().anyMatch(one -> unquoted(one.getId()).equals(bicycle.getId())),
                "the block lacks the transaction");
        return Map.of("height", block.getHeight());
    }

    private Object assetSearch() throws Exception {
        var found = AssetsApi.getAssets(word("shared car")).getAssets();
        equal(found.size(), 1, "assets found");
        equal(found.get(0).getId(), shared.getId(), "id of the asset found");
        equal(found.get(0).getData(), asset("shared car"), "data of the asset found");
        equal(AssetsApi.getAssetsWithLimit(word("shared car"), "1").size(), 1, "assets found with a limit");
        check(emptyOrNull(AssetsApi.getAssets("neverwrittenword").getAssets()), "assets found for a strange word");
        return null;
    }

    private Object metadataSearch() throws Exception {
        var found = MetaDataApi.getMetaData(word("shared car")).getMetaDatas();
        equal(found.size(), 1, "metadata found");
        equal(found.get(0).getId(), shared.getId(), "id of the metadata found");
        equal(found.get(0).getMetadata(), metadata("shared car").getMetadata(), "metadata found");
        equal(MetaDataApi.getMetaDataWithLimit(word("shared car"), "1").size(), 1, "metadata found with a limit");
        check(emptyOrNull(MetaDataApi.getMetaData("neverwrittenword").getMetaDatas()), "found for a strange word");
        return null;
    }

    private Object validators() throws Exception {
        int count = ValidatorsApi.getValidators().getValidators().size();
        check(count > 0, "there are no validators");
        return Map.of("validators", count);
    }

    private Object eventStream() throws Exception {
        eventually("stream messages for " + committed.size() + " transactions",
                () -> committed.keySet().stream().allMatch(id -> !about(id).isEmpty()));
        List<String> seen = messages.stream().map(one -> one.get("transaction_id").getAsString())
                .filter(committed::containsKey).toList();
        equal(seen, List.copyOf(committed.keySet()), "transactions on the stream, each once, in order of commit");
        for (String id : seen) {
            JsonObject message = about(id).get(0);
            equal(message.get("asset_id").getAsString(), committed.get(id), "asset_id of a message");
            equal(List.of(message.get("height").getAsString()), BlocksApi.getBlocksByTransactionId(id), "height");
        }
        equal(about(refused), List.of(), "messages about a refused transaction");
        return Map.of("messages", seen.size());
    }

    // --- helpers --------------------------------------------------------------------------------------------

    private String word(String label) {
        return label.replace(" ", "") + run;
    }

    private Map<String, String> asset(String label) {
        return new TreeMap<>(Map.of("label", label, "word", word(label), "town", "Zürich ☂ 𝔘"));
    }

    private MetaData metadata(String label) {
        MetaData metadata = new MetaData();
        metadata.setMetaData("note", "about " + word(label));
        return metadata;
    }

    /** A CREATE; without `owner` the outputs are left to the caller. */
    private ITransactionAttributes create(String label, Owner owner) {
        ITransactionAttributes builder = BigchainDbTransactionBuilder.init()
                .addAssets(asset(label), TreeMap.class)
                .addMetaData(metadata(label))
                .operation(Operations.CREATE);
        return owner == null ? builder : builder.addOutput("1", owner.publicKey);
    }

    private ITransactionAttributes transfer(String assetId, Transaction spent, int index, Owner owner) {
        FulFill link = new FulFill();
        link.setTransactionId(spent.getId());
        link.setOutputIndex(index);
        return BigchainDbTransactionBuilder.init()
                .addInput((String) null, link, owner.publicKey)
                .addAssets(assetId, String.class)
                .operation(Operations.TRANSFER);
    }

    /** Sign the single input: one signer with its own fulfillment, several with a threshold of all of them. */
    private static void signByAll(Transaction transaction, Owner... signers) throws Exception {
        Input input = transaction.getInputs().get(0);
        String text = DriverUtils.makeSelfSortingGson(transaction.toHashInput()).toString();
        if (input.getFulFills() != null) {
            text += input.getFulFills().getTransactionId() + input.getFulFills().getOutputIndex();
        }
        byte[] message = DriverUtils.getSha3HashRaw(text.getBytes(StandardCharsets.UTF_8));
        List<Fulfillment> leaves = new ArrayList<>();
        for (Owner signer : signers) {
            EdDSAEngine engine = new EdDSAEngine(MessageDigest.getInstance("SHA-512"));
            engine.initSign(signer.privateKey);
            engine.update(message);
            leaves.add(new Ed25519Sha256Fulfillment(signer.publicKey, engine.sign()));
        }
        // DER wants the members of a set in the order of their octets; the package writes them as they are given.
        leaves.sort((one, other) -> Arrays.compareUnsigned(one.getEncoded(), other.getEncoded()));
        Fulfillment whole = leaves.size() == 1 ? leaves.get(0) : new ThresholdSha256Fulfillment(
                new com.bigchaindb.cryptoconditions.Condition[0], leaves.toArray(new Fulfillment[0]));
        input.setFullFillment(Base64.encodeBase64URLSafeString(whole.getEncoded()));
        String signed = DriverUtils.makeSelfSortingGson(transaction.toHashInput()).toString();
        transaction.setId(DriverUtils.getSha3HashHex(signed.getBytes(StandardCharsets.UTF_8)));
    }

    private static void post(Transaction transaction) throws Exception {
        TransactionsApi.sendTransaction(transaction);
    }

    /** The driver ignores the status of a plain call; its callback tells 202, 400 and the rest apart. */
    private static void demandRefusal(Transaction transaction, String reason) throws Exception {
        BlockingQueue<String> answers = new LinkedBlockingQueue<>();
        TransactionsApi.sendTransaction(transaction, callback(answers));
        String answer = answers.poll(PATIENCE, TimeUnit.MILLISECONDS);
        check(answer != null && answer.startsWith("400 "), reason + " was not refused with 400 but: " + answer);
        String message = new JsonParser().parse(answer.substring(4)).getAsJsonObject().get("message").getAsString();
        check(message.startsWith(reason), "expected " + reason + ", got " + message);
    }

    private static GenericCallback callback(BlockingQueue<String> answers) {
        return new GenericCallback() {
            @Override
            public void pushedSuccessfully(Response response) {
                answers.add("202 " + body(response));
            }

            @Override
            public void transactionMalformed(Response response) {
                answers.add("400 " + body(response));
            }

            @Override
            public void otherError(Response response) {
                answers.add(response.code() + " (other error) " + body(response));
            }
        };
    }

    private static String body(Response response) {
        try {
            return response.body().string();
        } catch (java.io.IOException error) {
            return error.toString();
        }
    }

    private void awaitCommit(Transaction transaction) throws Exception {
        eventually("commit of " + transaction.getId(), () -> isCommitted(transaction.getId()));
        String asset = transaction.getAsset().getId();
        committed.put(transaction.getId(), asset == null ? transaction.getId() : asset);
    }

    /** This release reads the JSON of a 404 as if it were a transaction and fails, which is all it tells. */
    private static boolean isCommitted(String id) throws Exception {
        try {
            return unquoted(TransactionsApi.getTransactionById(id).getId()).equals(id);
        } catch (NullPointerException absent) {
            return false;
        }
    }

    private static List<String> ids(String assetId, Operations operation) throws Exception {
        return TransactionsApi.getTransactionsByAssetId(assetId, operation).getTransactions().stream()
                .map(one -> unquoted(one.getId())).toList();
    }

    private static List<String> unspent(Owner owner) throws Exception {
        return names(OutputsApi.getUnspentOutputs(owner.text));
    }

    private static List<String> names(Outputs outputs) {
        if (outputs.getOutput() == null) {
            return List.of();
        }
        return outputs.getOutput().stream().map(one -> one.getTransactionId() + ":" + one.getOutputIndex()).toList();
    }

    private List<JsonObject> about(String id) {
        return messages.stream().filter(one -> one.get("transaction_id").getAsString().equals(id)).toList();
    }

    private static JsonSerializer<ThresholdDetails> thresholdSerializer() {
        return (source, type, context) -> {
            JsonArray leaves = new JsonArray();
            source.leaves.forEach(leaf -> leaves.add(context.serialize(leaf, Details.class)));
            JsonObject details = new JsonObject();
            details.addProperty("type", "threshold-sha-256");
            details.addProperty("threshold", source.leaves.size());
            details.add("subconditions", leaves);
            return details;
        };
    }

    private interface Question {
        boolean ask() throws Exception;
    }

    private static void eventually(String what, Question question) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE;
        while (!question.ask()) {
            check(System.currentTimeMillis() < deadline, "in vain waited for: " + what);
            Thread.sleep(POLL_INTERVAL);
        }
    }

    /** This release leaves the quotation marks of the JSON text in some members. */
    private static String unquoted(String text) {
        return text.replace("\"", "");
    }

    private static boolean emptyOrNull(List<?> list) {
        return list == null || list.isEmpty();
    }

    private static void equal(Object found, Object wanted, String what) {
        check(Objects.equals(found, wanted), what + ": expected " + wanted + ", got " + found);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
