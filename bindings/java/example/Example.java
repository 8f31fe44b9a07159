import io.github.raspengine.rasp.ChatMessage;
import io.github.raspengine.rasp.Engine;
import io.github.raspengine.rasp.Model;
import io.github.raspengine.rasp.Session;
import io.github.raspengine.rasp.SessionOptions;

/** A chat of one question, dense and then sparse: java -cp rasp.jar:jna.jar Example.java MODEL.rasp */
public final class Example {
    private Example() {
    }

    public static void main(String[] arguments) {
        try (Model model = new Model(arguments[0]);
            Session session = model.open(new SessionOptions().context(512))) {
            System.out.printf("%s: %d layers; rasp %s%n", model.info().name, model.info().numLayers, Engine.version());
            int[] prompt = model.chatTokenize(new ChatMessage("user", "What is the capital of France?"));
            for (float sparsity : new float[] {0, 0.3f}) {
                session.reset();
                session.clearStats();
                session.setSparsity(sparsity);
                session.prefill(prompt);
                for (String piece : session.generate(24)) {
                    System.out.print(piece);
                }
                System.out.printf("%n    [%.0f%% of the linear weights read]%n", 100 * session.stats().kept);
            }
        }
    }
}
