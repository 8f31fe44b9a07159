package io.github.raspengine.rasp;

import com.sun.jna.Structure;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The native layer against what a C compiler sees. */
final class LayoutTests {
    private LayoutTests() {
    }

    private static List<String> golden() throws IOException {
        return Files.readAllLines(Paths.get(System.getenv("RASP_TEST_ABI")));
    }

    public static void constants() throws Exception {
        int seen = 0;
        for (String line : golden()) {
            String[] words = line.split(" ");
            if (words[0].equals("constant")) {
                Check.equal(Integer.parseInt(words[2]), Capi.class.getDeclaredField(words[1]).getInt(null), words[1]);
                seen++;
            }
        }
        Check.that(seen > 50, "the golden file is not read right");
    }

    public static void structs() throws Exception {
        Method offset = Structure.class.getDeclaredMethod("fieldOffset", String.class);
        offset.setAccessible(true);
        int seen = 0;
        for (String line : golden()) {
            String[] words = line.split(" ");
            if (!words[0].equals("struct") || words[1].equals("rasp_error")) {
                continue;
            }
            Class<?> kind = Class.forName(Capi.class.getName() + "$" + words[1]);
            Structure struct = (Structure) kind.getDeclaredConstructor().newInstance();
            if (words[2].equals("size")) {
                Check.equal(Integer.parseInt(words[3]), struct.size(), line);
            } else {
                Check.equal(Integer.parseInt(words[5]), offset.invoke(struct, words[3]), line);
            }
            seen++;
        }
        Check.that(seen > 100, "the golden file is not read right");
    }

    public static void functions() throws Exception {
        Set<String> declared = new HashSet<>();
        for (Method method : Capi.class.getDeclaredMethods()) {
            declared.add(method.getName());
        }
        List<String> golden = golden();
        for (String line : golden) {
            if (line.startsWith("function ")) {
                String name = line.split(" ")[1];
                // An initialiser that has grown is declared as its newest.
                Matcher init = Pattern.compile("(\\w+_init)(?:_(\\d+))?").matcher(name);
                boolean may = init.matches();
                int number = may && init.group(2) != null ? Integer.parseInt(init.group(2)) + 1 : 2;
                String next = may ? init.group(1) + "_" + number : "";
                boolean newer = may && golden.stream().anyMatch(other -> other.startsWith("function " + next + " "));
                Check.equal(!newer, declared.contains(name), name);
            }
        }
    }

    public static void defaultsOfSampling() throws Exception {
        Capi.rasp_sampling expected = new Capi.rasp_sampling();
        Engine.C.rasp_sampling_init_2(expected);
        Capi.rasp_sampling found = new Sampling().raw();
        for (Field field : Capi.rasp_sampling.class.getDeclaredFields()) {
            Check.equal(field.get(expected), field.get(found), field.getName());
        }
    }
}
