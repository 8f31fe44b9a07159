/*
 * rasp.hpp: rasp.h for C++17. Header-only; handles free themselves, failures are values.
 *
 *     auto model = rasp::Model::load("smollm2.rasp");
 *     if (!model) { std::cerr << model.error().message() << '\n'; return 1; }
 *     auto session = model->open();
 *     auto fed = session->prefill(*model->tokenize("The capital of France is"));
 *     auto stream = session->stream(32);
 *     for (std::string_view piece : stream) { std::cout << piece << std::flush; }
 *     if (!stream.status()) { std::cerr << stream.status().error().message() << '\n'; }
 *
 * Needs neither exceptions nor run-time type information. Where exceptions are on, result<T>::value() throws a
 * rasp::Exception. What a function does, allocates and may fail with is said in rasp.h, at the function of its name.
 * What returns a std::vector or std::string allocates that.
 */
#ifndef RASP_HPP
#define RASP_HPP

#include "rasp.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#if defined(__cpp_exceptions)
#include <exception>
#endif

namespace rasp {

// What went wrong: a status, which is never a success, and words.
class Error {
  public:
    explicit Error(const rasp_error &error) noexcept : error_(error) {}
    rasp_status code() const noexcept { return error_.code; }
    // Such as "context full".
    const char *name() const noexcept { return rasp_status_name(error_.code); }
    // What was wrong and where.
    const char *message() const noexcept { return error_.message; }

  private:
    rasp_error error_;
};

#if defined(__cpp_exceptions)
// What value() throws.
class Exception : public std::exception {
  public:
    explicit Exception(const Error &error) noexcept : error_(error) {}
    const char *what() const noexcept override { return error_.message(); }
    const Error &error() const noexcept { return error_; }

  private:
    Error error_;
};
#endif

// A value or an error, as C++23's std::expected. Ask before using `*` or `->`.
template <class T>
class [[nodiscard]] result {
  public:
    result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
    result(const Error &error) : content_(std::in_place_index<1>, error) {}

    explicit operator bool() const noexcept { return has_value(); }
    bool has_value() const noexcept { return content_.index() == 0; }

    T &operator*() & noexcept { return *std::get_if<0>(&content_); }
    const T &operator*() const & noexcept { return *std::get_if<0>(&content_); }
    T &&operator*() && noexcept { return std::move(*std::get_if<0>(&content_)); }
    T *operator->() noexcept { return std::get_if<0>(&content_); }
    const T *operator->() const noexcept { return std::get_if<0>(&content_); }
    const Error &error() const noexcept { return *std::get_if<1>(&content_); }

    template <class U>
    T value_or(U &&other) && {
        return has_value() ? std::move(**this) : static_cast<T>(std::forward<U>(other));
    }

#if defined(__cpp_exceptions)
    T &value() & { return check(), **this; }
    const T &value() const & { return check(), **this; }
    T &&value() && { return check(), std::move(**this); }

  private:
    void check() const {
        if (!has_value()) {
            throw Exception(error());
        }
    }
#endif

  private:
    std::variant<T, Error> content_;
};

// Nothing, or an error.
template <>
class [[nodiscard]] result<void> {
  public:
    result() noexcept = default;
    result(const Error &error) : error_(error) {}

    explicit operator bool() const noexcept { return has_value(); }
    bool has_value() const noexcept { return error_.index() == 0; }
    const Error &error() const noexcept { return *std::get_if<Error>(&error_); }

#if defined(__cpp_exceptions)
    void value() const {
        if (!has_value()) {
            throw Exception(error());
        }
    }
#endif

  private:
    std::variant<std::monostate, Error> error_;
};

// Some values that lie one after the other and belong to somebody else: C++20's std::span, in short.
template <class T>
class Span {
  public:
    Span() noexcept = default;
    Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    // Of anything that has data() and size(), such as a std::vector or a std::array.
    template <class C, class = decltype(std::declval<C &>().data()), class = decltype(std::declval<C &>().size())>
    Span(C &&values) noexcept : data_(values.data()), size_(values.size()) {}

    T *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    T *begin() const noexcept { return data_; }
    T *end() const noexcept { return data_ + size_; }
    T &operator[](std::size_t i) const noexcept { return data_[i]; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

using Tokens = Span<const std::uint32_t>;

// The option structs of rasp.h, with their defaults.
struct LoadOptions : rasp_load_options {
    LoadOptions() noexcept : rasp_load_options() { rasp_load_options_init(this); }
};
struct SessionOptions : rasp_session_options {
    SessionOptions() noexcept : rasp_session_options() { rasp_session_options_init(this); }
};
struct Sampling : rasp_sampling {
    Sampling() noexcept : rasp_sampling() { rasp_sampling_init(this); }
};

// One message of a chat.
struct Message {
    std::string role;
    std::string content;
    // What else it has, as a JSON object: name, tool_calls, a content in parts. Where there is some and content is
    // empty, the message has no content but what fields say.
    std::string fields{};
};

// What a chat template is given besides messages.
struct ChatOptions {
    bool add_generation_prompt = true;
    // Its variables, as a JSON object: tools, documents, enable_thinking. Empty: none.
    std::string variables{};
    // What strftime_now shows: seconds since 1970 of the clock on the wall. 0: there is no such function.
    std::int64_t time = 0;
};

// The next token, and whether it ends generation.
struct Token {
    std::uint32_t id;
    bool end;
};

// The text of a step, and how the answer ended with it: RASP_ENDED_NOT and its fellows.
struct TextStep {
    std::string text;
    std::uint32_t ended;
};

namespace detail {

// A chat as rasp.h takes it; what it points to is its maker's.
class Chat {
  public:
    Chat(Span<const Message> messages, const ChatOptions &options) : size_(options.variables.size()) {
        for (const Message &message : messages) {
            const bool bare = message.content.empty() && !message.fields.empty();
            messages_.push_back({message.role.data(), message.role.size(), bare ? nullptr : message.content.data(),
                                 message.content.size(), message.fields.empty() ? nullptr : message.fields.data(),
                                 message.fields.size()});
            size_ += message.role.size() + message.content.size() + message.fields.size();
        }
        rasp_chat_options_init(&options_);
        options_.add_generation_prompt = options.add_generation_prompt ? 1 : 0;
        options_.variables = options.variables.empty() ? nullptr : options.variables.data();
        options_.variables_length = options.variables.size();
        options_.time = options.time;
    }

    const rasp_chat_message *messages() const noexcept { return messages_.data(); }
    const rasp_chat_options *options() const noexcept { return &options_; }
    // Bytes of all of it.
    std::size_t size() const noexcept { return size_; }

  private:
    std::vector<rasp_chat_message> messages_;
    rasp_chat_options options_{};
    std::size_t size_;
};

// The outcome of a call that gives nothing back.
inline result<void> done(rasp_status status, const rasp_error &error) {
    return status < 0 ? result<void>(Error(error)) : result<void>();
}

// Calls `fill(data, capacity, &count, &error)` with room for `guess`, and once more with as much as it asks for.
template <class C, class F>
result<C> grown(std::size_t guess, F fill) {
    C buffer(guess, typename C::value_type());
    rasp_error error{};
    std::size_t count = 0;
    rasp_status status = fill(buffer.data(), buffer.size(), &count, &error);
    if (status == RASP_ERROR_BUFFER_TOO_SMALL) {
        buffer.resize(count);
        status = fill(buffer.data(), buffer.size(), &count, &error);
    }
    if (status < 0) {
        return Error(error);
    }
    buffer.resize(count);
    return buffer;
}

}  // namespace detail

class Session;
class Constraint;
class Adapter;
class Reply;

// One reference to a model. Moves; share() gives another one. All of it is safe from any thread at once.
class Model {
  public:
    // Takes over a reference.
    explicit Model(rasp_model *model) noexcept : model_(model) {}
    Model(Model &&other) noexcept : model_(std::exchange(other.model_, nullptr)) {}
    Model &operator=(Model &&other) noexcept {
        std::swap(model_, other.model_);
        return *this;
    }
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;
    ~Model() { rasp_free(model_); }

    static result<Model> load(std::string_view path, const rasp_load_options &options = LoadOptions()) {
        rasp_model *model = nullptr;
        rasp_error error{};
        if (rasp_load(std::string(path).c_str(), &options, &model, &error) < 0) {
            return Error(error);
        }
        return Model(model);
    }

    // The bytes stay where they are until the model and all its sessions are gone.
    static result<Model> load_bytes(Span<const unsigned char> bytes,
                                    const rasp_load_options &options = LoadOptions()) {
        rasp_model *model = nullptr;
        rasp_error error{};
        if (rasp_load_bytes(bytes.data(), bytes.size(), &options, &model, &error) < 0) {
            return Error(error);
        }
        return Model(model);
    }

    // A POSIX descriptor or a HANDLE; a length of 0 means to the end of the file.
    static result<Model> load_fd(std::int64_t file, std::uint64_t offset, std::uint64_t length,
                                 const rasp_load_options &options = LoadOptions()) {
        rasp_model *model = nullptr;
        rasp_error error{};
        if (rasp_load_fd(file, offset, length, &options, &model, &error) < 0) {
            return Error(error);
        }
        return Model(model);
    }

    Model share() const noexcept {
        rasp_model_retain(model_);
        return Model(model_);
    }

    rasp_model *get() const noexcept { return model_; }

    result<rasp_model_info> info() const {
        rasp_model_info info;
        rasp_model_info_init(&info);
        rasp_error error{};
        if (rasp_model_get_info(model_, &info, &error) < 0) {
            return Error(error);
        }
        return info;
    }

    // flags: RASP_TOKENIZE_ bits.
    result<std::vector<std::uint32_t>> tokenize(std::string_view text, std::uint32_t flags = 0) const {
        return detail::grown<std::vector<std::uint32_t>>(
            text.size() / 2 + 8, [&](std::uint32_t *data, std::size_t capacity, std::size_t *count, rasp_error *error) {
                return rasp_tokenize(model_, text.data(), text.size(), flags, data, capacity, count, error);
            });
    }

    // flags: RASP_DETOKENIZE_ bits.
    result<std::string> detokenize(Tokens tokens, std::uint32_t flags = 0) const {
        return detail::grown<std::string>(
            8 * tokens.size(), [&](char *data, std::size_t capacity, std::size_t *count, rasp_error *error) {
                return rasp_detokenize(model_, tokens.data(), tokens.size(), flags, data, capacity, count, error);
            });
    }

    // Valid while the model lives.
    result<std::string_view> token_bytes(std::uint32_t token) const {
        const std::uint8_t *bytes = nullptr;
        std::size_t length = 0;
        rasp_error error{};
        if (rasp_token_bytes(model_, token, &bytes, &length, &error) < 0) {
            return Error(error);
        }
        return std::string_view(reinterpret_cast<const char *>(bytes), length);
    }

    bool is_end(std::uint32_t token) const noexcept { return rasp_token_is_end(model_, token) != 0; }
    bool is_special(std::uint32_t token) const noexcept { return rasp_token_is_special(model_, token) != 0; }

    // The tokens of messages in the model's own format. What is said is text, whatever it looks like: special tokens
    // are recognised in the template's own words alone.
    result<std::vector<std::uint32_t>> chat_tokenize(Span<const Message> messages,
                                                     const ChatOptions &options = ChatOptions()) const {
        const detail::Chat chat(messages, options);
        return detail::grown<std::vector<std::uint32_t>>(
            chat.size() / 2 + 256,
            [&](std::uint32_t *data, std::size_t capacity, std::size_t *count, rasp_error *error) {
                return rasp_chat_tokenize(model_, chat.messages(), messages.size(), chat.options(), data, capacity,
                                          count, error);
            });
    }

    // The text of the same, to be looked at.
    result<std::string> chat_text(Span<const Message> messages, const ChatOptions &options = ChatOptions()) const {
        const detail::Chat chat(messages, options);
        return detail::grown<std::string>(
            2 * chat.size() + 256, [&](char *data, std::size_t capacity, std::size_t *count, rasp_error *error) {
                return rasp_chat_text(model_, chat.messages(), messages.size(), chat.options(), data, capacity, count,
                                      error);
            });
    }

    // Tokenized with RASP_TOKENIZE_PARSE_SPECIAL it cannot promise who speaks, since a message may hold the template's
    // own tokens: chat_tokenize can.
    result<std::string> chat_format(Span<const Message> messages, bool add_generation_prompt = true) const {
        ChatOptions options;
        options.add_generation_prompt = add_generation_prompt;
        return chat_text(messages, options);
    }

    result<rasp_memory_plan> plan(const rasp_session_options &options = SessionOptions()) const {
        rasp_memory_plan plan;
        rasp_memory_plan_init(&plan);
        rasp_error error{};
        if (rasp_session_plan(model_, &options, &plan, &error) < 0) {
            return Error(error);
        }
        return plan;
    }

    inline result<Session> open(const rasp_session_options &options = SessionOptions()) const;

    // kind: RASP_CONSTRAINT_.
    inline result<Constraint> constraint(std::uint32_t kind, std::string_view source) const;

    // A LoRA adapter, from its file, from bytes that stay where they are, or from a part of an open file.
    inline result<Adapter> adapter(std::string_view path) const;
    inline result<Adapter> adapter_bytes(Span<const unsigned char> bytes) const;
    inline result<Adapter> adapter_fd(std::int64_t file, std::uint64_t offset = 0, std::uint64_t length = 0) const;

    // What tells an answer to these messages apart. Give it what chat_tokenize was given.
    inline result<Reply> reply(Span<const Message> messages, const ChatOptions &options = ChatOptions()) const;

  private:
    rasp_model *model_;
};

// Text as it is generated: a range of pieces, each some whole UTF-8 characters, valid until the next one;
// rasp_step_text makes them, so stop strings end it. It can be gone through once, and ends at the end of the answer, at
// its limit or on an error, which status() tells afterwards.
class Stream {
  public:
    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;
        using pointer = const std::string_view *;
        using reference = std::string_view;

        iterator() noexcept = default;
        explicit iterator(Stream *stream) : stream_(stream) { ++*this; }
        std::string_view operator*() const noexcept { return stream_->piece_; }
        iterator &operator++() {
            if (!stream_->advance()) {
                stream_ = nullptr;
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.stream_ == b.stream_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.stream_ != b.stream_; }

      private:
        Stream *stream_ = nullptr;
    };

    iterator begin() { return iterator(this); }
    iterator end() noexcept { return iterator(); }

    // Whether all went well so far.
    const result<void> &status() const noexcept { return status_; }
    // Why the answer ended, one of RASP_ENDED_; RASP_ENDED_NOT at the limit.
    std::uint32_t ended() const noexcept { return ended_; }
    // How many tokens have been made, one that ended the answer not counted.
    std::size_t tokens() const noexcept { return tokens_; }

  private:
    friend class Session;
    Stream(rasp_session *session, std::size_t limit, std::uint32_t flags)
        : session_(session), limit_(limit), flags_(flags), text_(RASP_STEP_TEXT_SIZE, '\0') {}

    // Steps until there is a piece of text. False at the end.
    bool advance() {
        while (!over_) {
            std::size_t length = 0;
            rasp_error error{};
            rasp_status status;
            if (tokens_ == limit_) {
                over_ = true;
                status = rasp_finish_text(session_, &text_[0], text_.size(), &length, &error);
            } else {
                status = rasp_step_text(session_, flags_, &text_[0], text_.size(), &length, &ended_, &error);
                over_ = status != RASP_OK;
                tokens_ += over_ ? 0 : 1;
            }
            if (status < 0) {
                over_ = true;
                status_ = Error(error);
                return false;
            }
            if (length > 0) {
                piece_ = std::string_view(text_.data(), length);
                return true;
            }
        }
        return false;
    }

    rasp_session *session_;
    std::size_t limit_;
    std::uint32_t flags_;
    std::size_t tokens_ = 0;
    std::uint32_t ended_ = RASP_ENDED_NOT;
    bool over_ = false;
    result<void> status_;
    std::string text_;
    std::string_view piece_;
};

// A session, and a reference to its model. Moves. It belongs to one thread at a time; cancel() may come from any.
class Session {
  public:
    // Takes over a session and a reference to its model.
    Session(rasp_session *session, Model model) noexcept : model_(std::move(model)), session_(session) {}
    Session(Session &&other) noexcept
        : model_(std::move(other.model_)), session_(std::exchange(other.session_, nullptr)) {}
    Session &operator=(Session &&other) noexcept {
        std::swap(model_, other.model_);
        std::swap(session_, other.session_);
        return *this;
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;
    ~Session() { rasp_session_close(session_); }

    rasp_session *get() const noexcept { return session_; }
    const Model &model() const noexcept { return model_; }

    // A whole conversation, of which the longest beginning that the session holds stays: how many tokens did.
    result<std::size_t> prefill_chat(Span<const Message> messages, const ChatOptions &options = ChatOptions()) {
        return chat_with(rasp_chat_prefill, messages, options);
    }

    // The same without computing anything yet.
    result<std::size_t> prefill_chat_begin(Span<const Message> messages, const ChatOptions &options = ChatOptions()) {
        return chat_with(rasp_chat_prefill_begin, messages, options);
    }

    // The tokens that it holds.
    result<std::vector<std::uint32_t>> tokens() const {
        return detail::grown<std::vector<std::uint32_t>>(
            256, [&](std::uint32_t *data, std::size_t capacity, std::size_t *count, rasp_error *error) {
                return rasp_session_tokens(session_, data, capacity, count, error);
            });
    }

    result<void> prefill(Tokens tokens) {
        rasp_error error{};
        return detail::done(rasp_prefill(session_, tokens.data(), tokens.size(), &error), error);
    }

    result<Token> step() {
        std::uint32_t token = 0;
        rasp_error error{};
        const rasp_status status = rasp_step(session_, &token, &error);
        if (status < 0) {
            return Error(error);
        }
        return Token{token, status == RASP_END};
    }

    // A prompt in pieces of time: begin, then within budgets until it returns true. The tokens are copied.
    result<void> prefill_begin(Tokens tokens) {
        rasp_error error{};
        return detail::done(rasp_prefill_begin(session_, tokens.data(), tokens.size(), &error), error);
    }
    result<bool> prefill_within(std::uint64_t budget_ns) {
        rasp_error error{};
        const rasp_status status = rasp_prefill_within(session_, budget_ns, &error);
        if (status < 0) {
            return Error(error);
        }
        return status != RASP_PENDING;
    }

    // As much of a step as fits the budget: the token, or nothing yet.
    result<std::optional<Token>> step_within(std::uint64_t budget_ns) {
        std::uint32_t token = 0;
        rasp_error error{};
        const rasp_status status = rasp_step_within(session_, budget_ns, &token, &error);
        if (status < 0) {
            return Error(error);
        }
        return status == RASP_PENDING ? std::nullopt : std::optional<Token>(Token{token, status == RASP_END});
    }

    // As much of a step of an answer's text as fits the budget: its text, which may be empty, or nothing yet.
    result<std::optional<TextStep>> step_text_within(std::uint64_t budget_ns, std::uint32_t flags = 0) {
        TextStep step{std::string(RASP_STEP_TEXT_SIZE, '\0'), RASP_ENDED_NOT};
        std::size_t length = 0;
        rasp_error error{};
        const rasp_status status = rasp_step_text_within(session_, budget_ns, flags, &step.text[0], step.text.size(),
                                                         &length, &step.ended, &error);
        if (status < 0) {
            return Error(error);
        }
        step.text.resize(length);
        return status == RASP_PENDING ? std::nullopt : std::optional<TextStep>(std::move(step));
    }

    // Turns the sparsity, between these, so that each token takes so many nanoseconds; 0 of them: no more.
    result<void> set_deadline(std::uint64_t ns_per_token, float min_sparsity, float max_sparsity) {
        rasp_error error{};
        return detail::done(
            rasp_session_set_deadline(session_, ns_per_token, min_sparsity, max_sparsity, &error), error);
    }

    result<void> decode(std::uint32_t token) {
        rasp_error error{};
        return detail::done(rasp_decode(session_, token, &error), error);
    }

    // At most `limit` tokens' text; flags: RASP_TEXT_ bits. The stream is used before anything else is done with the
    // session; the session may move meanwhile.
    Stream stream(std::size_t limit, std::uint32_t flags = 0) { return Stream(session_, limit, flags); }

    // What ends an answer, besides the model. No strings: nothing else.
    result<void> set_stop(Span<const std::string> strings) {
        std::vector<const char *> list;
        for (const std::string &string : strings) {
            list.push_back(string.c_str());
        }
        rasp_error error{};
        return detail::done(rasp_session_set_stop(session_, list.data(), list.size(), &error), error);
    }

    result<void> set_logit_bias(Span<const rasp_logit_bias> biases) {
        rasp_error error{};
        return detail::done(rasp_session_set_logit_bias(session_, biases.data(), biases.size(), &error), error);
    }

    /// What the next tokens are guessed by: `kinds` of RASP_DRAFTS_, `most` a pass, and a text to look into.
    result<void> set_drafts(std::uint32_t kinds, std::uint32_t most, Span<const std::uint32_t> text = {}) {
        rasp_error error{};
        return detail::done(rasp_session_set_drafts(session_, kinds, most, text.data(), text.size(), &error), error);
    }

    result<void> set_logits_callback(rasp_logits_callback callback, void *context) {
        rasp_error error{};
        return detail::done(rasp_session_set_logits_callback(session_, callback, context, &error), error);
    }

    inline result<void> set_constraint(const Constraint &constraint);
    result<void> clear_constraint() {
        rasp_error error{};
        return detail::done(rasp_session_set_constraint(session_, nullptr, &error), error);
    }

    // The adapters that tokens pass with from now on, and their scales; none: the model alone. There must be room for
    // their ranks (adapter_rank of the options).
    inline result<void> set_adapters(std::initializer_list<std::pair<const Adapter &, float>> adapters);

    // One vector of the tokens; pooling: RASP_POOL_, flags: RASP_EMBED_ bits. The session must hold no tokens.
    result<std::vector<float>> embed(Tokens tokens, std::uint32_t pooling = RASP_POOL_MEAN,
                                     std::uint32_t flags = RASP_EMBED_NORMALISE) {
        return detail::grown<std::vector<float>>(
            0, [&](float *data, std::size_t capacity, std::size_t *size, rasp_error *error) {
                return rasp_embed(session_, tokens.data(), tokens.size(), pooling, flags, data, capacity, size, error);
            });
    }

    void cancel() const noexcept { rasp_cancel(session_); }

    result<void> reset() {
        rasp_error error{};
        return detail::done(rasp_session_reset(session_, &error), error);
    }

    result<void> rewind(std::size_t tokens) {
        rasp_error error{};
        return detail::done(rasp_session_rewind(session_, tokens, &error), error);
    }

    // With the options of this session, in memory of its own.
    result<Session> fork() { return fork_with(nullptr); }
    result<Session> fork(const rasp_session_options &options) { return fork_with(&options); }

    result<void> shift(std::size_t keep, std::size_t discard) {
        rasp_error error{};
        return detail::done(rasp_session_shift(session_, keep, discard, &error), error);
    }

    result<std::vector<unsigned char>> save() {
        return detail::grown<std::vector<unsigned char>>(
            0, [&](unsigned char *data, std::size_t capacity, std::size_t *size, rasp_error *error) {
                return rasp_session_save(session_, data, capacity, size, error);
            });
    }

    result<void> restore(Span<const unsigned char> state) {
        rasp_error error{};
        return detail::done(rasp_session_restore(session_, state.data(), state.size(), &error), error);
    }

    result<void> set_sparsity(float sparsity) {
        rasp_error error{};
        return detail::done(rasp_session_set_sparsity(session_, sparsity, &error), error);
    }

    result<void> set_sampling(const rasp_sampling &sampling) {
        rasp_error error{};
        return detail::done(rasp_session_set_sampling(session_, &sampling, &error), error);
    }

    /// How likely the model finds a token after the last one that passed, as the natural logarithm; and into `top` as
    /// many of the likeliest as it has room for.
    result<float> log_probs(std::uint32_t token, Span<rasp_log_prob> top = {}) {
        float log_prob = 0;
        rasp_error error{};
        if (rasp_log_probs(session_, token, &log_prob, top.data(), top.size(), &error) < 0) {
            return Error(error);
        }
        return log_prob;
    }

    // Valid until the next call on this session.
    result<Span<const float>> logits() {
        const float *logits = nullptr;
        std::size_t count = 0;
        rasp_error error{};
        if (rasp_logits(session_, &logits, &count, &error) < 0) {
            return Error(error);
        }
        return Span<const float>(logits, count);
    }

    result<rasp_stats> stats() {
        rasp_stats stats;
        rasp_stats_init(&stats);
        rasp_error error{};
        if (rasp_session_get_stats(session_, &stats, &error) < 0) {
            return Error(error);
        }
        return stats;
    }

    result<void> clear_stats() {
        rasp_error error{};
        return detail::done(rasp_session_clear_stats(session_, &error), error);
    }

  private:
    template <class Call>
    result<std::size_t> chat_with(Call call, Span<const Message> messages, const ChatOptions &options) {
        const detail::Chat chat(messages, options);
        std::size_t kept = 0;
        rasp_error error{};
        if (call(session_, chat.messages(), messages.size(), chat.options(), &kept, &error) < 0) {
            return Error(error);
        }
        return kept;
    }

    result<Session> fork_with(const rasp_session_options *options) {
        rasp_session *fork = nullptr;
        rasp_error error{};
        if (rasp_session_fork(session_, options, &fork, &error) < 0) {
            return Error(error);
        }
        return Session(fork, model_.share());
    }

    // In this order: the session goes first.
    Model model_;
    rasp_session *session_;
};

// Sessions of one model that step together, in which the weights are read once for all of them: see rasp_step_batch.
// The first one's threads and memory do the work. They stay open while they are in the batch; they may move meanwhile.
class Batch {
  public:
    void add(const Session &session) {
        sessions_.push_back(session.get());
        tokens_.push_back(0);
        statuses_.push_back(RASP_ERROR_INVALID_STATE); // Not stepped yet.
    }
    void clear() noexcept {
        sessions_.clear();
        tokens_.clear();
        statuses_.clear();
    }
    std::size_t size() const noexcept { return sessions_.size(); }

    // An error if a session has failed, the first one's; the others have stepped all the same.
    result<void> step() {
        rasp_error error{};
        const rasp_status status =
            rasp_step_batch(sessions_.data(), sessions_.size(), tokens_.data(), statuses_.data(), &error);
        return detail::done(status, error);
    }

    // Of the last step, by the order in which sessions were added: the token, if there is one, and the status.
    std::optional<Token> token(std::size_t index) const {
        const rasp_status status = statuses_[index];
        return status < 0 ? std::nullopt : std::optional<Token>(Token{tokens_[index], status == RASP_END});
    }
    rasp_status status(std::size_t index) const noexcept { return statuses_[index]; }

  private:
    std::vector<rasp_session *> sessions_;
    std::vector<std::uint32_t> tokens_;
    std::vector<rasp_status> statuses_;
};

// What an answer may be. Moves; sessions keep what they need of it.
class Constraint {
  public:
    // Takes it over.
    explicit Constraint(rasp_constraint *constraint) noexcept : constraint_(constraint) {}
    Constraint(Constraint &&other) noexcept : constraint_(std::exchange(other.constraint_, nullptr)) {}
    Constraint &operator=(Constraint &&other) noexcept {
        std::swap(constraint_, other.constraint_);
        return *this;
    }
    Constraint(const Constraint &) = delete;
    Constraint &operator=(const Constraint &) = delete;
    ~Constraint() { rasp_constraint_free(constraint_); }

    rasp_constraint *get() const noexcept { return constraint_; }

  private:
    rasp_constraint *constraint_;
};

// A LoRA adapter. Moves; sessions keep what they need of it.
class Adapter {
  public:
    // Takes it over.
    explicit Adapter(rasp_adapter *adapter) noexcept : adapter_(adapter) {}
    Adapter(Adapter &&other) noexcept : adapter_(std::exchange(other.adapter_, nullptr)) {}
    Adapter &operator=(Adapter &&other) noexcept {
        std::swap(adapter_, other.adapter_);
        return *this;
    }
    Adapter(const Adapter &) = delete;
    Adapter &operator=(const Adapter &) = delete;
    ~Adapter() { rasp_adapter_free(adapter_); }

    result<rasp_adapter_info> info() const {
        rasp_adapter_info info;
        rasp_adapter_info_init(&info);
        rasp_error error{};
        if (rasp_adapter_get_info(adapter_, &info, &error) < 0) {
            return Error(error);
        }
        return info;
    }

    rasp_adapter *get() const noexcept { return adapter_; }

  private:
    rasp_adapter *adapter_;
};

inline result<void> Session::set_adapters(std::initializer_list<std::pair<const Adapter &, float>> adapters) {
    std::vector<const rasp_adapter *> handles;
    std::vector<float> scales;
    for (const auto &[adapter, scale] : adapters) {
        handles.push_back(adapter.get());
        scales.push_back(scale);
    }
    rasp_error error{};
    return detail::done(
        rasp_session_set_adapters(session_, handles.data(), scales.data(), handles.size(), &error), error);
}

inline result<Adapter> Model::adapter(std::string_view path) const {
    rasp_adapter *adapter = nullptr;
    rasp_error error{};
    if (rasp_adapter_load(model_, std::string(path).c_str(), &adapter, &error) < 0) {
        return Error(error);
    }
    return Adapter(adapter);
}

inline result<Adapter> Model::adapter_bytes(Span<const unsigned char> bytes) const {
    rasp_adapter *adapter = nullptr;
    rasp_error error{};
    if (rasp_adapter_load_bytes(model_, bytes.data(), bytes.size(), &adapter, &error) < 0) {
        return Error(error);
    }
    return Adapter(adapter);
}

inline result<Adapter> Model::adapter_fd(std::int64_t file, std::uint64_t offset, std::uint64_t length) const {
    rasp_adapter *adapter = nullptr;
    rasp_error error{};
    if (rasp_adapter_load_fd(model_, file, offset, length, &adapter, &error) < 0) {
        return Error(error);
    }
    return Adapter(adapter);
}

// A part of an answer: text (of a call the arguments, JSON), a call's name and id. Valid until the next call on the
// reply.
struct Part {
    std::uint32_t kind;  // RASP_PART_
    std::string_view text, name, id;
};

// An answer that is told apart as it comes: text, reasoning and calls of tools. Moves. Push what
// session.stream(limit, RASP_TEXT_SHOW_MARKS) gives, take parts, finish, take the rest.
class Reply {
  public:
    // Takes it over.
    explicit Reply(rasp_reply *reply) noexcept : reply_(reply) {}
    Reply(Reply &&other) noexcept : reply_(std::exchange(other.reply_, nullptr)) {}
    Reply &operator=(Reply &&other) noexcept {
        std::swap(reply_, other.reply_);
        return *this;
    }
    Reply(const Reply &) = delete;
    Reply &operator=(const Reply &) = delete;
    ~Reply() { rasp_reply_free(reply_); }

    result<void> push(std::string_view text) {
        rasp_error error{};
        return detail::done(rasp_reply_push(reply_, text.data(), text.size(), &error), error);
    }
    // A token instead of text, for hosts that step by tokens.
    result<void> push_token(std::uint32_t token) {
        rasp_error error{};
        return detail::done(rasp_reply_push_token(reply_, token, &error), error);
    }
    result<void> finish() {
        rasp_error error{};
        return detail::done(rasp_reply_finish(reply_, &error), error);
    }
    // The next part of what is known; nothing until more is pushed, or at the end.
    std::optional<Part> next() {
        rasp_reply_part part{};
        if (rasp_reply_next(reply_, &part, nullptr) != RASP_OK) {
            return std::nullopt;
        }
        auto view = [](const char *text, std::size_t length) {
            return text ? std::string_view(text, length) : std::string_view();
        };
        return Part{part.kind, view(part.text, part.text_length), view(part.name, part.name_length),
                    view(part.id, part.id_length)};
    }
    // The answer as a message's fields, a JSON object.
    result<std::string> message() const {
        return detail::grown<std::string>(
            4096, [&](char *data, std::size_t capacity, std::size_t *size, rasp_error *error) {
                return rasp_reply_message(reply_, data, capacity, size, error);
            });
    }
    rasp_reply *get() const noexcept { return reply_; }

  private:
    rasp_reply *reply_;
};

inline result<Reply> Model::reply(Span<const Message> messages, const ChatOptions &options) const {
    detail::Chat chat(messages, options);
    rasp_reply *reply = nullptr;
    rasp_error error{};
    if (rasp_reply_new(model_, chat.messages(), messages.size(), chat.options(), &reply, &error) < 0) {
        return Error(error);
    }
    return Reply(reply);
}

inline result<void> Session::set_constraint(const Constraint &constraint) {
    rasp_error error{};
    return detail::done(rasp_session_set_constraint(session_, constraint.get(), &error), error);
}

inline result<Constraint> Model::constraint(std::uint32_t kind, std::string_view source) const {
    rasp_constraint *constraint = nullptr;
    rasp_error error{};
    if (rasp_constraint_new(model_, kind, source.data(), source.size(), &constraint, &error) < 0) {
        return Error(error);
    }
    return Constraint(constraint);
}

inline result<Session> Model::open(const rasp_session_options &options) const {
    rasp_session *session = nullptr;
    rasp_error error{};
    if (rasp_session_open(model_, &options, &session, &error) < 0) {
        return Error(error);
    }
    return Session(session, share());
}

}  // namespace rasp

#endif
