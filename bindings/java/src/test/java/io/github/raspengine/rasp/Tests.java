package io.github.raspengine.rasp;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.Comparator;

/**
 * The library on the real model: RASP_TEST_MODEL=MODEL.rasp RASP_TEST_ABI=tests/abi/x86_64-linux-gnu.txt java ...
 * Tests, with the names of tests for those alone. RASP_TEST_ADAPTER is an adapter for it, RASP_TEST_TOOLS a tiny model
 * whose template knows tools: tests/bindings/models.py makes the parts of both.
 */
public final class Tests {
    static final String PATH = System.getenv("RASP_TEST_MODEL");
    static final String ADAPTER = System.getenv("RASP_TEST_ADAPTER");
    static final String TOOLS = System.getenv("RASP_TEST_TOOLS");
    static final String PROMPT = "The capital of France is";

    private Tests() {
    }

    public static void main(String[] names) throws IllegalAccessException {
        int passed = 0;
        int failed = 0;
        Class<?>[] all = {LayoutTests.class, ModelTests.class, SessionTests.class, AnswerTests.class,
            AdapterTests.class, ChatTests.class, CallbackTests.class, ThreadTests.class};
        for (Class<?> kind : all) {
            Method[] tests = kind.getDeclaredMethods();
            Arrays.sort(tests, Comparator.comparing(Method::getName));
            for (Method test : tests) {
                if (!Modifier.isPublic(test.getModifiers())
                    || names.length > 0 && !Arrays.asList(names).contains(test.getName())) {
                    continue;
                }
                try {
                    test.invoke(null);
                    passed++;
                } catch (InvocationTargetException exception) {
                    failed++;
                    System.err.print(kind.getSimpleName() + "." + test.getName() + ": ");
                    exception.getCause().printStackTrace();
                }
            }
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(passed == 0 || failed > 0 ? 1 : 0);
    }

    static String joined(Iterable<String> pieces) {
        return String.join("", pieces);
    }

    static String repeated(String text, int times) {
        return String.join("", java.util.Collections.nCopies(times, text));
    }

    static String answer(Model model, int limit) {
        try (Session session = model.open(new SessionOptions().context(128))) {
            session.prefill(model.tokenize(PROMPT));
            return joined(session.generate(limit));
        }
    }

    /** A session whose model is closed, and the prompt. */
    static final class Opened implements AutoCloseable {
        final Session session;
        final int[] tokens;

        Opened() {
            this(new SessionOptions().context(128).threads(2).kv(KvType.F32));
        }

        Opened(SessionOptions options) {
            try (Model model = new Model(PATH)) {
                tokens = model.tokenize(PROMPT);
                session = model.open(options);
            }
        }

        @Override
        public void close() {
            session.close();
        }
    }
}
