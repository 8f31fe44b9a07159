package io.github.raspengine.rasp;

import java.io.FileInputStream;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

final class AdapterTests {
    private static final SessionOptions OPTIONS = new SessionOptions().context(64).adapterRank(6);

    private AdapterTests() {
    }

    private static int[] answer(Session session, int[] prompt) {
        session.reset();
        session.prefill(prompt);
        int[] tokens = new int[8];
        Arrays.setAll(tokens, n -> session.step().id);
        return tokens;
    }

    private static byte[] bytes() throws Exception {
        return Files.readAllBytes(Paths.get(Tests.ADAPTER));
    }

    public static void theyChangeWhatIsSaid() throws Exception {
        byte[] data = bytes();
        try (Model model = new Model(Tests.PATH); Session session = model.open(OPTIONS)) {
            int[] prompt = model.tokenize(Tests.PROMPT);
            ByteBuffer direct = ByteBuffer.allocateDirect(data.length);
            direct.put(data);
            List<Adapter> adapters = new ArrayList<>(Arrays.asList(model.adapter(Tests.ADAPTER),
                model.adapterFromBytes(direct), model.adapterFromBytes(ByteBuffer.wrap(data))));
            AdapterInfo info = adapters.get(0).info();
            Check.equal("lora", info.name);
            Check.that(info.rank == 3 && info.linears == 60 && info.bytes > 0 && info.bytes <= data.length, "info");
            int[] alone = answer(session, prompt);
            int[] adapted = null;
            for (Adapter one : adapters) {
                session.setAdapters(Collections.singletonList(one));
                int[] found = answer(session, prompt);
                Check.equal(adapted == null ? found : adapted, found);
                adapted = found;
            }
            Check.that(!Arrays.equals(alone, adapted), "an adapter that changes nothing");
            session.setAdapters(adapters.subList(0, 2), new float[2]);
            Check.equal(alone, answer(session, prompt));
            session.setAdapters(Collections.emptyList());
            Check.equal(alone, answer(session, prompt));
            session.setAdapters(adapters.subList(2, 3));
            for (Adapter one : adapters) {
                one.close();
            }
            try (Session fork = session.fork()) {
                session.setAdapters(Collections.emptyList());
                Check.equal(adapted, answer(fork, prompt));
            }
            Check.fails(IllegalStateException.class, "this adapter is closed", () -> session.setAdapters(adapters));
            Check.fails(IllegalStateException.class, "this adapter is closed", () -> adapters.get(0).info());
        }
    }

    private static WeakReference<ByteBuffer> set(Model model, Session session) throws Exception {
        byte[] data = bytes();
        ByteBuffer direct = ByteBuffer.allocateDirect(data.length);
        direct.put(data);
        try (Adapter adapter = model.adapterFromBytes(direct)) {
            session.setAdapters(Collections.singletonList(adapter));
        }
        return new WeakReference<>(direct);
    }

    public static void bytesAreKeptWhileTheyAreSet() throws Exception {
        try (Model model = new Model(Tests.PATH); Session session = model.open(OPTIONS)) {
            WeakReference<ByteBuffer> data = set(model, session);
            for (int n = 0; n < 3; n++) {
                System.gc();
            }
            Check.that(data.get() != null, "what is set was let go");
            Session fork = session.fork();
            session.setAdapters(Collections.emptyList());
            System.gc();
            Check.that(data.get() != null, "what a fork has set was let go");
            fork.close();
            for (int n = 0; n < 20 && data.get() != null; n++) {
                System.gc();
                Thread.sleep(20);
            }
            Check.that(data.get() == null, "bytes that nobody needs are kept");
        }
    }

    public static void fromDescriptors() throws Exception {
        byte[] data = bytes();
        try (Model model = new Model(Tests.PATH)) {
            Check.fails(Status.INVALID_ARGUMENT, () -> model.adapterFromDescriptor(-1, 0, 0));
            Check.fails(IllegalArgumentException.class, "negative", () -> model.adapterFromDescriptor(0, -1, 0));
            try (FileInputStream file = new FileInputStream(Tests.ADAPTER)) {
                Check.that(file.getFD().valid(), "open");
                long descriptor = ModelTests.descriptor(Paths.get(Tests.ADAPTER));
                try (Adapter adapter = model.adapterFromDescriptor(descriptor, 0, data.length)) {
                    Check.equal(3, adapter.info().rank);
                }
                Check.fails(Status.OUT_OF_RANGE, () -> model.adapterFromDescriptor(descriptor, 0, data.length + 1));
            }
        }
    }

    public static void whatIsRefused() throws Exception {
        try (Model model = new Model(Tests.PATH); Session session = model.open(new SessionOptions().context(64));
            Adapter adapter = model.adapter(Tests.ADAPTER)) {
            List<Adapter> one = Collections.singletonList(adapter);
            Check.fails(RaspException.class, "adapter_rank 3", () -> session.setAdapters(one));
            Check.fails(IllegalArgumentException.class, "1 adapters have 2 scales",
                () -> session.setAdapters(one, new float[2]));
            Check.fails(RaspException.class, "finite", () -> session.setAdapters(one, new float[] {Float.NaN}));
            Check.fails(IllegalArgumentException.class, "NUL", () -> model.adapter("a\0b"));
            Check.fails(RaspException.class, "/nowhere", () -> model.adapter("/nowhere"));
            Check.fails(RaspException.class, "not an adapter", () -> model.adapter(Tests.PATH));
            byte[] data = bytes();
            Check.fails(RaspException.class, "truncated",
                () -> model.adapterFromBytes(ByteBuffer.wrap(Arrays.copyOf(data, data.length - 1))));
        }
    }
}
