"""OpenAI's client for Python against `rasp serve`: RASP_SERVER says where, RASP_SERVER_MODEL which model."""

import concurrent.futures
import json
import math
import os

import openai

URL, MODEL = os.environ["RASP_SERVER"] + "/v1", os.environ["RASP_SERVER_MODEL"]
client = openai.OpenAI(base_url=URL, api_key="sesame", max_retries=0)
QUESTION = [{"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of Japan? Answer in one short sentence."}]


def chat(**more):
    return client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 24, **more})


def chats():
    whole = chat()
    answer = whole.choices[0].message.content
    assert "Tokyo" in answer and whole.choices[0].message.role == "assistant", whole
    assert whole.choices[0].finish_reason == "stop" and whole.object == "chat.completion" and whole.model == MODEL, whole
    usage = whole.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.prompt_tokens > 20, usage
    again = chat(max_tokens=None, max_completion_tokens=24)
    assert again.choices[0].message.content == answer and again.id != whole.id
    assert again.usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1, again.usage
    # Content in parts, and an answer of the client's own types sent back.
    parts = [QUESTION[0], {"role": "user", "content": [{"type": "text", "text": QUESTION[1]["content"]}]}]
    assert chat(messages=parts).choices[0].message.content == answer
    more = chat(messages=[*QUESTION, whole.choices[0].message, {"role": "user", "content": "And of France?"}])
    assert "Paris" in more.choices[0].message.content, more
    assert more.usage.prompt_tokens_details.cached_tokens > usage.prompt_tokens, more.usage


def streams():
    whole = chat(n=2, temperature=1, seed=3, logprobs=True, top_logprobs=2)
    with chat(n=2, temperature=1, seed=3, stream=True, stream_options={"include_usage": True}) as stream:
        pieces = list(stream)
    texts = ["", ""]
    for piece in pieces[:-1]:
        assert piece.usage is None and len(piece.choices) == 1
        texts[piece.choices[0].index] += piece.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices], texts
    assert pieces[-1].choices == [] and pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
    # The helper that puts the pieces together itself.
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, temperature=0, max_tokens=24) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == chat().choices[0].message.content
    # One that is left in the middle.
    with chat(max_tokens=1000, stream=True, logit_bias={"2": -100}) as stream:
        next(iter(stream))


def completions():
    def complete(**more):
        return client.completions.create(**{"model": "other", "prompt": "The capital of France is", "temperature": 0,
                                            "max_tokens": 12, **more})

    plain = complete(logprobs=3).choices[0]
    assert plain.text.startswith(" Paris") and plain.finish_reason == "length", plain
    assert "".join(plain.logprobs.tokens) == plain.text and len(plain.logprobs.top_logprobs[0]) == 3
    assert plain.logprobs.text_offset[:2] == [0, len(plain.logprobs.tokens[0])]
    stopped = complete(stop=["never", "aris"]).choices[0]
    assert (stopped.text, stopped.finish_reason) == (" P", "stop"), stopped
    both = complete(prompt=["The capital of France is", "The capital of Japan is"])
    assert [choice.index for choice in both.choices] == [0, 1] and "Tokyo" in both.choices[1].text
    assert "".join(piece.choices[0].text for piece in complete(stream=True)) == plain.text
    drawn = [complete(temperature=1.5, seed=seed).choices[0].text for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2], drawn


def logprobs():
    content = chat(logprobs=True, top_logprobs=5).choices[0].logprobs.content
    for token in content:
        assert len(token.top_logprobs) == 5 and token.logprob == token.top_logprobs[0].logprob <= 0
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) < 1.0001
    assert bytes(byte for token in content for byte in token.bytes).decode() == chat().choices[0].message.content


def formats():
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}, "size": {"type": "integer"}},
              "required": ["city", "size"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    found = json.loads(chat(max_tokens=60, response_format=form).choices[0].message.content)
    assert set(found) == {"city", "size"} and isinstance(found["size"], int), found
    text = chat(max_tokens=400, response_format={"type": "json_object"}).choices[0]
    assert text.message.content.startswith("{") and (text.finish_reason == "length" or json.loads(text.message.content)), text


def embeddings():
    # The client asks for base64 and makes numbers of it.
    both = client.embeddings.create(model=MODEL, input=["An owl on a fence.", "The price of oil."])
    floats = client.embeddings.create(model=MODEL, input="An owl on a fence.", encoding_format="float")
    pairs = list(zip(both.data[0].embedding, floats.data[0].embedding, strict=True))
    # A decimal of an f32 is shorter than the f64 that the client makes of its bytes.
    assert all(abs(a - b) < 1e-7 for a, b in pairs) and len(pairs) == 576
    assert abs(sum(x * x for x in both.data[1].embedding) - 1) < 1e-5 and both.usage.prompt_tokens > 8


def refused(kind, call, param=None, code=None):
    try:
        call()
    except kind as error:
        assert (param is None or error.param == param) and (code is None or error.code == code), error
    else:
        raise AssertionError(f"{kind} was expected")


def errors():
    bad = openai.BadRequestError
    refused(bad, lambda: chat(temperature=-1), "temperature")
    refused(bad, lambda: chat(extra_body={"temprature": 1}), "temprature")
    refused(bad, lambda: chat(messages=[{"role": "user", "content": "long " * 5000}]), "messages", "context_length_exceeded")
    refused(openai.NotFoundError, lambda: chat(model="gpt-4o"), "model", "model_not_found")
    wrong = client.with_options(api_key="wrong")
    refused(openai.AuthenticationError, wrong.models.list, code="invalid_api_key")


def models():
    assert [model.id for model in client.models.list()] == [MODEL, "other"]
    assert client.models.retrieve(MODEL).owned_by == "rasp"


def together():
    """Clients at the same time get what each gets alone; more of them than there are sessions."""
    def one(n):
        question = {"role": "user", "content": f"Tell me something about the number {n}."}
        return chat(messages=[question], temperature=n % 2, seed=n, max_tokens=20).choices[0].message.content

    alone = [one(n) for n in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == alone


for check in (models, chats, streams, completions, logprobs, formats, embeddings, errors, together):
    check()
    print(f"openai {openai.__version__}, Python: {check.__name__}")
