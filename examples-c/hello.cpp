// hello, from C++17: the same library and header, with handles that free themselves.
//
//     hello-cpp MODEL.rasp [PROMPT [TOKENS]]
#include <rasp.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Free {
    void operator()(rasp_model *model) const { rasp_free(model); }
    void operator()(rasp_session *session) const { rasp_session_close(session); }
};
using Model = std::unique_ptr<rasp_model, Free>;
using Session = std::unique_ptr<rasp_session, Free>;

// Ends the program with what went wrong, unless the call succeeded.
rasp_status check(rasp_status status, const rasp_error &error) {
    if (status < 0) {
        std::cerr << "hello: " << rasp_status_name(status) << ": " << error.message << '\n';
        std::exit(EXIT_FAILURE);
    }
    return status;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::cerr << "usage: hello-cpp MODEL.rasp [PROMPT [TOKENS]]\n";
        return EXIT_FAILURE;
    }
    const std::string prompt = argc > 2 ? argv[2] : "The capital of France is";
    const int limit = argc > 3 ? std::atoi(argv[3]) : 32;
    rasp_error error{};

    rasp_model *loaded = nullptr;
    check(rasp_load(argv[1], nullptr, &loaded, &error), error);
    const Model model(loaded);

    // A token has at least one byte, so there are no more tokens than bytes.
    std::vector<uint32_t> tokens(prompt.size());
    std::size_t count = 0;
    check(rasp_tokenize(model.get(), prompt.data(), prompt.size(), 0, tokens.data(), tokens.size(), &count, &error),
          error);

    rasp_session *opened = nullptr;
    check(rasp_session_open(model.get(), nullptr, &opened, &error), error);
    const Session session(opened);
    check(rasp_prefill(session.get(), tokens.data(), count, &error), error);

    std::cout << prompt;
    rasp_text_stream stream{};
    std::vector<char> text;
    for (int i = 0; i < limit; ++i) {
        uint32_t token = 0;
        if (check(rasp_step(session.get(), &token, &error), error) == RASP_END) {
            break;
        }
        const uint8_t *bytes = nullptr;
        std::size_t size = 0;
        check(rasp_token_bytes(model.get(), token, &bytes, &size, &error), error);
        text.resize(3 * size + RASP_TEXT_STREAM_EXTRA);
        std::size_t length = 0;
        check(rasp_text_stream_push(&stream, bytes, size, text.data(), text.size(), &length, &error), error);
        std::cout.write(text.data(), static_cast<std::streamsize>(length)).flush();
    }
    std::cout << '\n';
    return EXIT_SUCCESS;
}
