"""A chat of one question, dense and then sparse: python3 example.py MODEL.rasp"""

import sys

import rasp


def main(path: str) -> None:
    with rasp.Model(path) as model, model.open(context=512) as session:
        print(f"{model.info.name}: {model.info.num_layers} layers; rasp {rasp.version()}")
        prompt = model.chat_tokenize([{"role": "user", "content": "What is the capital of France?"}])
        for sparsity in (0.0, 0.3):
            session.reset()
            session.clear_stats()
            session.set_sparsity(sparsity)
            session.prefill(prompt)
            for piece in session.generate(limit=24):
                print(piece, end="", flush=True)
            print(f"\n    [{session.stats.kept:.0%} of the linear weights read]")


if __name__ == "__main__":
    main(sys.argv[1])
