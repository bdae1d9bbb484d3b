// Real models whose headers were spoilt: what our reader lets through, libllama loads or refuses, and survives. Each is loaded in a process
// of its own, because libllama ends the process on some files.
#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "inference/engines/llama.h"
#include "inference/gguf.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::TinyModel;

// How a child that loads the file ends: 0 loaded, 1 refused, else the signal that ended it, negative.
int LoadInChild(const ModelOptions& model) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
    for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, SIG_DFL);  // Not the test's own handlers.
    alarm(60);
    _exit(MakeLlamaEngine(model, "").ok() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_CASE("A spoilt header that our reader lets through does not end the process") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const tollgate::test::TempDir folder;
  int let_through = 0;
  int ended = 0;
  for (const std::string architecture : {"llama", "deepseek2"}) {
    const TinyModel tiny(architecture);
    const std::string sound = tiny.Bytes();
    const std::size_t head = sound.find("tokenizer.ggml.tokens");
    const std::size_t tail = sound.find("token_embd.weight");
    const std::size_t data = sound.find("output_norm.weight");
    for (int round = 0; round < 1500; ++round) {
      std::string spoilt = sound;
      for (std::uint64_t n = 1 + random() % 2; n > 0; --n) {
        const bool keys = random() % 3 != 0;  // Else the list of tensors.
        const std::size_t at = keys ? random() % head : tail + random() % (data - tail + 2000);
        spoilt[at] = static_cast<char>(random() % 2 == 0 ? random() : random() % 8);
      }
      if (spoilt == sound || !ReadGguf(spoilt).ok()) continue;
      if (random() % 4 != 0) continue;  // A process each: some will do.
      ModelOptions model = tiny.WriteTo(folder, 2, 256);
      std::ofstream(model.file, std::ios::binary) << spoilt;
      model.sha256 = *DigestOfFile(model.file);
      ++let_through;
      const int end = LoadInChild(model);
      if (end >= 0) continue;
      ++ended;
      std::size_t first = 0;
      while (spoilt[first] == sound[first]) ++first;
      WARN(architecture << " byte " << first << " ended the process with signal " << -end << ": near \"" << [&] {
        std::string near;
        for (const char c : sound.substr(first < 60 ? 0 : first - 60, 80)) near += c >= ' ' && c <= '~' ? c : '.';
        return near;
      }() << "\"");
    }
  }
  CHECK(let_through > 30);
  CHECK(ended == 0);
}

}  // namespace
}  // namespace tollgate::inference
