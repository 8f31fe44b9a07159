// hello, from C++17: a model, a session, and text as it comes. No exceptions: what can fail returns a result.
//
//     hello-cpp MODEL.rasp [PROMPT [TOKENS]]
#include <rasp.hpp>

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace {

int fail(const rasp::Error &error) {
    std::cerr << "hello: " << error.name() << ": " << error.message() << '\n';
    return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::cerr << "usage: hello-cpp MODEL.rasp [PROMPT [TOKENS]]\n";
        return EXIT_FAILURE;
    }
    const std::string_view prompt = argc > 2 ? argv[2] : "The capital of France is";
    const int limit = argc > 3 ? std::atoi(argv[3]) : 32;

    const auto model = rasp::Model::load(argv[1]);
    if (!model) {
        return fail(model.error());
    }
    auto session = model->open();
    if (!session) {
        return fail(session.error());
    }
    const auto tokens = model->tokenize(prompt, RASP_TOKENIZE_ADD_SPECIAL);
    if (!tokens) {
        return fail(tokens.error());
    }
    if (const auto fed = session->prefill(*tokens); !fed) {
        return fail(fed.error());
    }
    std::cout << prompt;
    auto stream = session->stream(static_cast<std::size_t>(limit));
    for (const std::string_view piece : stream) {
        std::cout << piece << std::flush;
    }
    std::cout << '\n';
    return stream.status() ? EXIT_SUCCESS : fail(stream.status().error());
}
