// npc: a game loop at 60 frames a second whose characters talk, all over one model.
//
//     npc MODEL.rasp [--frames N] [--budget MICROSECONDS]
//
// It plays the same N frames twice. First every frame that has something to compute computes it whole: a prompt, or a
// token. Then it gives the characters a budget, and rasp_step_within stops in the middle of a layer when that is spent.
// Printed are both histograms of frame times, and how far a frame went over its budget: in milliseconds, which depend on
// what else the machine does, and in units of work, of which at most one can be under way when the budget ends.
#include <rasp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

constexpr nanoseconds FRAME{1'000'000'000 / 60};
constexpr int MOST_TOKENS = 40;

[[noreturn]] void fail(const char *what, const rasp_error &error) {
    std::fprintf(stderr, "npc: %s: %s: %s\n", what, rasp_status_name(error.code), error.message);
    std::exit(EXIT_FAILURE);
}

// What the game itself does in a frame: some thousand particles under gravity.
class World {
public:
    void update() {
        for (auto &particle : particles_) {
            particle.speed -= 9.81F / 60;
            particle.height += particle.speed / 60;
            if (particle.height < 0) {
                particle.height = -particle.height;
                particle.speed = -0.9F * particle.speed;
            }
        }
    }

private:
    struct Particle {
        float height = 10, speed = 0;
    };
    std::vector<Particle> particles_ = std::vector<Particle>(20000);
};

// Somebody who talks: a session of their own over the model that all share.
class Character {
public:
    Character(const rasp_model *model, std::string name, std::string_view line) : model_(model), name_(std::move(name)) {
        rasp_session_options options;
        rasp_session_options_init(&options);
        options.context = 256;
        rasp_error error;
        if (rasp_session_open(model, &options, &session_, &error) != RASP_OK) {
            fail("cannot open a session", error);
        }
        prompt_.resize(128);
        std::size_t count = 0;
        if (rasp_tokenize(model, line.data(), line.size(), RASP_TOKENIZE_ADD_SPECIAL, prompt_.data(), prompt_.size(),
                          &count, &error) != RASP_OK) {
            fail("cannot read the line", error);
        }
        prompt_.resize(count);
    }
    Character(const Character &) = delete;
    Character &operator=(const Character &) = delete;
    ~Character() { rasp_session_close(session_); }

    // Starts to answer. Nothing is computed yet.
    void ask() {
        rasp_error error;
        text_.clear();
        tokens_ = 0;
        if (rasp_session_reset(session_, &error) != RASP_OK ||
            rasp_prefill_begin(session_, prompt_.data(), prompt_.size(), &error) != RASP_OK) {
            fail("cannot take the prompt", error);
        }
    }

    // Thinks for about that long; true if a token came.
    bool think(nanoseconds budget) {
        rasp_error error;
        std::uint32_t token = 0;
        const auto ns = static_cast<std::uint64_t>(std::max<nanoseconds::rep>(budget.count(), 0));
        const rasp_status status = rasp_step_within(session_, ns, &token, &error);
        return heard(status, token, error);
    }

    // Thinks until a token has come, however long that takes.
    void think() {
        rasp_error error;
        std::uint32_t token = 0;
        const rasp_status status = rasp_step(session_, &token, &error);
        heard(status, token, error);
    }

    // Units of work so far.
    std::uint64_t units() const {
        rasp_error error;
        rasp_stats stats;
        rasp_stats_init(&stats);
        if (rasp_session_get_stats(session_, &stats, &error) != RASP_OK) {
            fail("no statistics", error);
        }
        return stats.units;
    }

    void say() const { std::printf("  %s: %s\n", name_.c_str(), text_.c_str()); }

private:
    bool heard(rasp_status status, std::uint32_t token, const rasp_error &error) {
        if (status < 0) {
            fail(name_.c_str(), error);
        }
        if (status == RASP_PENDING) {
            return false;
        }
        const std::uint8_t *bytes = nullptr;
        std::size_t length = 0;
        rasp_error odd;
        if (status == RASP_OK && rasp_token_bytes(model_, token, &bytes, &length, &odd) == RASP_OK) {
            text_.append(reinterpret_cast<const char *>(bytes), length);
        }
        if (status == RASP_END || ++tokens_ == MOST_TOKENS) {
            ask();
        }
        return true;
    }

    const rasp_model *model_;
    rasp_session *session_ = nullptr;
    std::string name_, text_;
    std::vector<std::uint32_t> prompt_;
    int tokens_ = 0;
};

// Times of frames, in classes.
class Histogram {
public:
    void add(nanoseconds time) {
        const double ms = static_cast<double>(time.count()) / 1e6;
        const auto place = std::find_if(LIMITS.begin(), LIMITS.end(), [ms](double limit) { return ms < limit; });
        counts_[static_cast<std::size_t>(place - LIMITS.begin())]++;
        late_ += time > FRAME;
        worst_ = std::max(worst_, ms);
        total_++;
    }

    void print(const char *title) const {
        std::printf("%s: %d frames, worst %.1f ms, %d missed\n", title, total_, worst_, late_);
        for (std::size_t i = 0; i < counts_.size(); i++) {
            const int stars = total_ == 0 ? 0 : (60 * counts_[i] + total_ - 1) / total_;
            const bool last = i == LIMITS.size();
            std::printf("  %s %5.1f ms %6d %s\n", last ? "  from" : "before", LIMITS[last ? i - 1 : i], counts_[i],
                        std::string(static_cast<std::size_t>(stars), '*').c_str());
        }
    }

private:
    static constexpr std::array<double, 9> LIMITS{1, 2, 4, 6, 8, 12, 16.7, 33.3, 100};
    std::array<int, LIMITS.size() + 1> counts_{};
    int late_ = 0, total_ = 0;
    double worst_ = 0;
};

struct Overshoot {
    double ms = 0, units = 0;
};

// Plays so many frames; a budget of zero is none.
Overshoot play(std::array<Character *, 3> &characters, int frames, nanoseconds budget, Histogram &histogram) {
    World world;
    Overshoot worst;
    nanoseconds took{0};
    std::uint64_t done = 0;
    int tokens = 0;
    std::size_t turn = 0;
    for (auto *character : characters) {
        character->ask();
    }
    auto next = Clock::now();
    for (int frame = 0; frame < frames; frame++) {
        const auto start = Clock::now();
        world.update();
        if (budget.count() == 0) {
            characters[turn]->think();
            turn = (turn + 1) % characters.size();
            tokens++;
        } else {
            const auto end = Clock::now() + budget;
            for (auto left = budget; left.count() > 0; left = duration_cast<nanoseconds>(end - Clock::now())) {
                auto &character = *characters[turn];
                const auto units = character.units();
                const auto before = Clock::now();
                if (character.think(left)) {
                    turn = (turn + 1) % characters.size();
                    tokens++;
                }
                const auto after = Clock::now();
                took += after - before;
                done += character.units() - units;
                worst.ms = std::max(worst.ms, static_cast<double>(duration_cast<nanoseconds>(after - end).count()) / 1e6);
            }
        }
        histogram.add(duration_cast<nanoseconds>(Clock::now() - start));
        // A frame that was missed is not made up for.
        next = std::max(next + FRAME, Clock::now());
        std::this_thread::sleep_until(next);
    }
    // In units of the average length. Beyond one it is what the machine took from the game meanwhile.
    worst.units = done == 0 ? 0 : worst.ms * 1e6 * static_cast<double>(done) / static_cast<double>(took.count());
    std::printf("%d tokens:\n", tokens);
    for (const auto *character : characters) {
        character->say();
    }
    return worst;
}

}  // namespace

int main(int argc, char **argv) {
    int frames = 600;
    nanoseconds budget = std::chrono::microseconds(4000);
    const char *path = nullptr;
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (more && std::strcmp(argv[i], "--frames") == 0) {
            frames = std::max(1, std::atoi(argv[++i]));
        } else if (more && std::strcmp(argv[i], "--budget") == 0) {
            budget = std::chrono::microseconds(std::max(1, std::atoi(argv[++i])));
        } else if (path == nullptr && argv[i][0] != '-') {
            path = argv[i];
        } else {
            path = nullptr;
            break;
        }
    }
    if (path == nullptr) {
        std::fprintf(stderr, "usage: npc MODEL.rasp [--frames N] [--budget MICROSECONDS]\n");
        return EXIT_FAILURE;
    }
    rasp_error error;
    rasp_model *model = nullptr;
    if (rasp_load(path, nullptr, &model, &error) != RASP_OK) {
        fail(path, error);
    }
    {
        Character smith(model, "Smith", "The blacksmith looks up from the anvil and says: \"");
        Character guard(model, "Guard", "The guard at the gate lowers his spear and says: \"");
        Character witch(model, "Witch", "The old woman stirs her kettle, smiles and says: \"");
        std::array<Character *, 3> characters{&smith, &guard, &witch};

        Histogram without, with;
        play(characters, frames, nanoseconds(0), without);
        without.print("Without a budget");
        const Overshoot worst = play(characters, frames, budget, with);
        with.print("With a budget");
        std::printf("worst overshoot of a budget of %.1f ms: %.2f ms, %.2f units of work\n",
                    static_cast<double>(budget.count()) / 1e6, worst.ms, worst.units);
    }
    rasp_free(model);
    return EXIT_SUCCESS;
}
