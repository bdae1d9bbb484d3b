// Real models whose headers were spoilt: what our reader lets through, libllama loads or refuses, and survives. Each is loaded in a process
// of its own, because libllama ends the process on some files.
#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <ggml.h>

#include "inference/engines/llama.h"
#include "inference/engines/llama_library.h"
#include "inference/gguf.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::Gguf;
using test::TinyModel;

// How a child that loads the file ends: 0 loaded, 1 refused, else the signal that ended it, negative.
int LoadInChild(const ModelOptions& model) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
    for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, SIG_DFL);  // Not the test's own handlers.
    alarm(60);
    if (!StartLlama("").ok()) _exit(2);
    ggml_set_abort_callback(nullptr);  // Nothing catches: what the reader alone keeps away is looked for.
    _exit(MakeLlamaEngine(model, "").ok() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// What libllama divides by, allocates by or asserts on, as inference/gguf_keys.cpp has it; and some that it bears.
constexpr const char* kKeys[] = {"expert_count",
                                 "expert_used_count",
                                 "expert_group_count",
                                 "expert_group_used_count",
                                 "expert_gating_func",
                                 "expert_shared_count",
                                 "nextn_predict_layers",
                                 "leading_dense_block_count",
                                 "pooling_type",
                                 "rope.dimension_count",
                                 "rope.dimension_count_swa",
                                 "attention.key_length",
                                 "attention.value_length",
                                 "attention.key_length_mla",
                                 "attention.value_length_mla",
                                 "attention.head_count",
                                 "attention.head_count_kv",
                                 "attention.sliding_window"};
constexpr std::uint32_t kNumbers[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 77, 1025, 65536, 0xFFFFFFFF};

template <typename T, std::size_t n>
T OneOf(const T (&all)[n], std::mt19937_64& random) {
  return all[random() % n];
}

struct Spoilt {
  std::string bytes;
  std::string how;
};

Spoilt WithOtherBytes(const std::string& sound, std::mt19937_64& random) {
  const std::size_t head = sound.find("tokenizer.ggml.tokens");
  const std::size_t tail = sound.find("token_embd.weight");
  const std::size_t data = sound.find("output_norm.weight");
  Spoilt spoilt{sound, ""};
  for (std::uint64_t n = 1 + random() % 2; n > 0; --n) {
    const bool keys = random() % 3 != 0;  // Else the list of tensors.
    const std::size_t at = keys ? random() % head : tail + random() % (data - tail + 2000);
    spoilt.bytes[at] = static_cast<char>(random() % 2 == 0 ? random() : random() % 8);
    spoilt.how += fmt::format("byte {}, near \"", at);
    for (const char c : sound.substr(at < 60 ? 0 : at - 60, 80)) spoilt.how += c >= ' ' && c <= '~' ? c : '.';
    spoilt.how += "\" ";
  }
  return spoilt;
}

// One key more, or one token written over another.
Spoilt WithOtherKey(const TinyModel& tiny, const std::string& architecture, std::mt19937_64& random) {
  Gguf file = tiny.file();
  const std::string key = architecture + "." + OneOf(kKeys, random);
  const std::uint32_t number = OneOf(kNumbers, random);
  switch (random() % 10) {
    case 0: {
      const auto token = [&random] { return fmt::format("<0x{:02X}>", random() % 256); };
      const std::string one = token(), other = token();
      std::string bytes = file.Bytes();
      bytes.replace(bytes.find(one), one.size(), other);
      return {bytes, fmt::format("token {} is {}", one, other)};
    }
    case 1: file.Text(architecture + ".rope.scaling.type", random() % 2 == 0 ? "yarn" : "foo"); return {file.Bytes(), "rope.scaling.type"};
    case 2: file.Numbers(key, {number, OneOf(kNumbers, random)}); return {file.Bytes(), fmt::format("list {} from {}", key, number)};
    default: file.Number(key, number); return {file.Bytes(), fmt::format("{} = {}", key, number)};
  }
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
    for (int round = 0; round < 1500; ++round) {
      const bool key = round % 3 == 0;
      const auto [spoilt, how] = key ? WithOtherKey(tiny, architecture, random) : WithOtherBytes(sound, random);
      if (spoilt == sound || !ReadGguf(spoilt).ok()) continue;
      if (random() % (key ? 2 : 4) != 0) continue;  // A process each: some will do.
      ModelOptions model = tiny.WriteTo(folder, 2, 256);
      std::ofstream(model.file, std::ios::binary) << spoilt;
      model.sha256 = *DigestOfFile(model.file);
      ++let_through;
      const int end = LoadInChild(model);
      if (end >= 0) continue;
      ++ended;
      WARN(architecture << " ended the process with signal " << -end << ": " << how);
    }
  }
  CHECK(let_through > 30);
  CHECK(ended == 0);
}

TEST_CASE("What our reader does not know of, libllama gives up over without ending the process") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("nanbeige");
  ModelOptions model = tiny.WriteTo(folder, 2, 256);
  for (const std::uint32_t loops : {1, 0, 300, 1}) {  // It asserts that it runs over its layers once at least, and over 512 at most.
    std::ofstream(model.file, std::ios::binary) << Gguf(tiny.file()).Number("nanbeige.num_loops", loops).Bytes();
    model.sha256 = *DigestOfFile(model.file);
    const auto engine = MakeLlamaEngine(model, "");
    INFO(loops << ": " << engine.status().ToString());
    CHECK(engine.status().code() == (loops == 1 ? absl::StatusCode::kOk : absl::StatusCode::kFailedPrecondition));
  }
  ggml_init_params params{};  // Through frames of C, too.
  params.mem_size = 1 << 16;
  ggml_context* context = ggml_init(params);
  ggml_tensor* tensor = ggml_new_tensor_1d(context, GGML_TYPE_F32, 12);
  {
    const LlamaLoading loading;
    CHECK_THROWS_AS(ggml_reshape_2d(context, tensor, 3, 5), std::runtime_error);
    CHECK(ggml_reshape_2d(context, tensor, 3, 4)->ne[1] == 4);
  }
  ggml_free(context);
}

}  // namespace
}  // namespace tollgate::inference
