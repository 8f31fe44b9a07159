// A second opinion, from llama.cpp: tokenization and dense perplexity.
//
//     llama_cpp_check MODEL.gguf hash FILE...      ids and FNV-1a of each file, as in tokenizer_data.json
//     llama_cpp_check MODEL.gguf ppl FILE WINDOWS  perplexity over windows of 512, as rsparse.py measures it
//
// See README.md for how to build it. Not a part of any test.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "llama.h"

static std::vector<llama_token> tokenize(const llama_vocab * vocab, const char * path) {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    std::vector<llama_token> ids(text.size() + 1);
    ids.resize(llama_tokenize(vocab, text.data(), text.size(), ids.data(), ids.size(), false, true));
    return ids;
}

static void hash(const llama_vocab * vocab, const char * path) {
    auto ids = tokenize(vocab, path);
    uint64_t h = 0xCBF29CE484222325;
    for (uint32_t id : ids) {
        for (int shift = 0; shift < 32; shift += 8) h = (h ^ (id >> shift & 255)) * 0x100000001B3;
    }
    printf("%s %zu %016llx\n", path, ids.size(), (unsigned long long) h);
}

static void perplexity(llama_model * model, const char * path, int windows) {
    const int window = 512;
    auto vocab = llama_model_get_vocab(model);
    auto ids = tokenize(vocab, path);
    auto params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = window;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    auto context = llama_init_from_model(model, params);
    double loss = 0;
    for (int w = 0; w < windows; w++) {
        auto row = ids.data() + w * window;
        llama_memory_clear(llama_get_memory(context), true);
        auto batch = llama_batch_init(window, 0, 1);
        batch.n_tokens = window;
        for (int t = 0; t < window; t++) {
            batch.token[t] = row[t], batch.pos[t] = t, batch.n_seq_id[t] = 1, batch.seq_id[t][0] = 0, batch.logits[t] = 1;
        }
        if (llama_decode(context, batch) != 0) exit(1);
        for (int t = 0; t + 1 < window; t++) {
            auto z = llama_get_logits_ith(context, t);
            double sum = 0;
            for (int i = 0; i < llama_vocab_n_tokens(vocab); i++) sum += exp(z[i] - z[row[t + 1]]);
            loss += log(sum);
        }
        llama_batch_free(batch);
        printf("%d windows: %.4f\n", w + 1, exp(loss / ((w + 1) * (window - 1))));
        fflush(stdout);
    }
}

int main(int count, char ** args) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    auto params = llama_model_default_params();
    params.vocab_only = args[2] == std::string("hash");
    auto model = llama_model_load_from_file(args[1], params);
    if (!params.vocab_only) {
        perplexity(model, args[3], atoi(args[4]));
    } else {
        for (int i = 3; i < count; i++) hash(llama_model_get_vocab(model), args[i]);
    }
}
