// What a model needs in memory, and that one which does not fit is refused with the numbers.
#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/make_engine.h"
#include "inference/memory_estimate.h"
#include "tests/inference/support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

GgufHeader SmolHeader() {
  GgufHeader header;
  header.architecture = "llama";
  header.layers = 30;
  header.vocab_tokens = 49152;
  header.numbers = {{"llama.embedding_length", 576},
                    {"llama.feed_forward_length", 1536},
                    {"llama.attention.head_count", 9},
                    {"llama.attention.head_count_kv", 3}};
  return header;
}

ModelOptions Options() {
  ModelOptions model;
  model.slots = 4;
  model.context_tokens = 1000;  // 1024 in libllama's blocks.
  model.prefix_cache_bytes = 1 << 20;
  return model;
}

TEST_CASE("Numbers beyond any machine need more than there is, not less than nothing") {
  GgufHeader header = SmolHeader();
  header.layers = 512;
  header.vocab_tokens = 1 << 24;
  for (const char* key : {"embedding_length", "attention.key_length", "attention.value_length"})
    header.numbers[fmt::format("llama.{}", key)] = 1 << 20;
  for (const char* key : {"attention.head_count", "attention.head_count_kv"}) header.numbers[fmt::format("llama.{}", key)] = 1 << 16;
  header.numbers["llama.feed_forward_length"] = 1 << 24;
  ModelOptions model = Options();
  model.slots = 1;
  for (const std::int64_t tokens : {1 << 16, 1 << 18, 1 << 20, 1 << 24, 1 << 30}) {
    for (const KvType kv : {KvType::kQ8, KvType::kF16, KvType::kF32}) {
      for (const Pooling pooling : {Pooling::kNone, Pooling::kMean}) {
        model.context_tokens = tokens;
        model.kv = kv;
        model.pooling = pooling;
        const MemoryNeed need = EstimateMemory(header, 1 << 20, model);
        INFO(tokens << " " << need.context << " " << need.computing);
        CHECK(need.context >= 1LL << 58);
        CHECK(need.computing > 1LL << 40);
        CHECK(need.total() > need.context);
        CHECK(CheckFits(need, model, 1LL << 50).code() == absl::StatusCode::kResourceExhausted);
      }
    }
  }
}

TEST_CASE("The context's size follows from layers, heads, slots and the type it is kept in") {
  const MemoryNeed need = EstimateMemory(SmolHeader(), 98'000'000, Options());
  CHECK(need.weights == 98'000'000);
  CHECK(need.context == 30LL * 3 * (64 + 64) * 2 * 4 * 1024);
  CHECK(need.prefix_cache == 1 << 20);
  CHECK(need.computing > 4 << 20);
  CHECK(need.computing < 64 << 20);
  ModelOptions q8 = Options();
  q8.kv = KvType::kQ8;
  CHECK(EstimateMemory(SmolHeader(), 0, q8).context == 30LL * 3 * 128 * 34 / 32 * 4 * 1024);

  ModelOptions shared = Options();  // Cells that slots share count once, whatever the slots.
  shared.kv_tokens = 1500;
  CHECK(EstimateMemory(SmolHeader(), 0, shared).context == 30LL * 3 * (64 + 64) * 2 * 1536);
  CHECK(EstimateMemory(SmolHeader(), 0, shared).moving == 30LL * 3 * (64 + 64) * 2 * 2 * shared.context_tokens);
  CHECK(EstimateMemory(SmolHeader(), 0, Options()).moving == 0);
  CHECK(base::Message(CheckFits(EstimateMemory(SmolHeader(), 0, shared), shared, 0)).find("4 slots that share 1500 tokens") !=
        std::string::npos);
  CHECK(PrefixBytesMax(shared) + SuspendedBytesMax(shared) == shared.prefix_cache_bytes);
  CHECK(PrefixBytesMax(Options()) == Options().prefix_cache_bytes);

  GgufHeader mla = SmolHeader();  // DeepSeek: one latent head.
  mla.numbers["llama.attention.head_count_kv"] = 1;
  mla.numbers["llama.attention.key_length"] = 576;
  mla.numbers["llama.attention.value_length"] = 512;
  CHECK(EstimateMemory(mla, 0, Options()).context == 30LL * (576 + 512) * 2 * 4 * 1024);

  GgufHeader bare = SmolHeader();  // Heads that differ by layer stand in an array: every query head counts.
  bare.numbers.erase("llama.attention.head_count_kv");
  CHECK(EstimateMemory(bare, 0, Options()).context == 30LL * 9 * 128 * 2 * 4 * 1024);
}

TEST_CASE("What fits is let in to the byte; what does not is refused in numbers, with what to lower") {
  const MemoryNeed need = EstimateMemory(SmolHeader(), 98'000'000, Options());
  CHECK(CheckFits(need, Options(), need.total()).ok());
  const absl::Status refused = CheckFits(need, Options(), need.total() - 1);
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK(base::DetailOf(refused)->reason == "MODEL_DOES_NOT_FIT");
  const std::string message(base::Message(refused));
  for (const char* part :
       {"weights 94", "context of 4 slots x 1000 tokens 90", "prefix cache 1", "MiB are free", "lower slots", "8 bits"}) {
    INFO(message << " lacks " << part);
    CHECK(message.find(part) != std::string::npos);
  }
  CHECK(base::Message(CheckFits(need, Options(), -5)).find("and 0 MiB are free") != std::string::npos);
}

TEST_CASE("With GPUs, weights, context and computing go onto them; kept prefixes and a layer's weights stay in the machine's memory") {
  const MemoryNeed need = EstimateMemory(SmolHeader(), 98'000'000, Options());
  const SplitNeed split = SplitOverDevices(need, SmolHeader());
  CHECK(split.devices.weights == need.weights);
  CHECK(split.devices.context == need.context);
  CHECK(split.devices.computing == need.computing);
  CHECK(split.devices.layers == 30);
  CHECK(split.host.prefix_cache == need.prefix_cache);
  CHECK(split.host.total() == need.prefix_cache + 98'000'000 / 31);
}

TEST_CASE("What is free is the least that the machine, the control group or one around it has left") {
  using Files = std::map<std::string, std::string>;
  constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
  const std::string unit = "sys/fs/cgroup/system.slice/gate.service/", slice = "sys/fs/cgroup/system.slice/", root = "sys/fs/cgroup/";
  const std::string old = "sys/fs/cgroup/memory/";
  const Files machine{{"proc/meminfo", "MemTotal: 90 kB\nMemAvailable:      80 kB\nHugePages_Total:       0\n"}};
  const Files small{{"proc/meminfo", "MemAvailable: 2 kB\n"}};
  const Files own{{unit + "memory.max", "5000\n"},
                  {unit + "memory.current", "3000\n"},
                  {unit + "memory.stat", "anon 1\ninactive_file 500\nactive_file 1500\n"}};
  const Files around{{slice + "memory.max", "9000\n"}, {slice + "memory.current", "8000\n"}, {slice + "memory.stat", "inactive_file 10\n"}};
  const Files container{{root + "memory.max", "700\n"}, {root + "memory.current", "100\n"}};
  const Files unlimited{{unit + "memory.max", "max\n"}, {unit + "memory.current", "3000\n"}};
  const Files first{{old + "docker/x/memory.limit_in_bytes", "6000\n"},
                    {old + "docker/x/memory.usage_in_bytes", "4000\n"},
                    {old + "docker/x/memory.stat", "inactive_file 9\nactive_file 9\ntotal_inactive_file 300\ntotal_active_file 100\n"}};
  const Files endless{{old + "memory.limit_in_bytes", "9223372036854771712\n"},
                      {old + "memory.usage_in_bytes", "9000\n"},
                      {old + "memory.stat", "total_inactive_file 8000\n"}};
  const Files bound{{old + "memory.limit_in_bytes", "400\n"}, {old + "memory.usage_in_bytes", "100\n"}};
  const std::string in_unit = "0::/system.slice/gate.service\n", in_docker = "9:pids:/docker/y\n4:cpu,memory:/docker/x\n0::/\n";
  struct Row {
    const char* what;
    std::string group;  // /proc/self/cgroup.
    std::vector<Files> files;
    std::int64_t left;
  };
  for (const Row& row : std::vector<Row>{{"nothing at all", "", {}, kAll},
                                         {"no group", "", {machine}, 80 * 1024},
                                         {"its own limit", in_unit, {machine, own}, 4000},
                                         {"a tighter one around it", in_unit, {machine, own, around}, 1010},
                                         {"one around it alone", in_unit, {machine, unlimited, around}, 1010},
                                         {"no limit anywhere", in_unit, {machine, unlimited}, 80 * 1024},
                                         {"the machine is tighter", in_unit, {small, own}, 2048},
                                         {"a container's root", "0::/\n", {machine, container}, 600},
                                         {"a container that is told the host's path", in_unit, {machine, container}, 600},
                                         {"a group out of sight", "0::/../other\n", {machine, container}, 600},
                                         {"another group's limit", "0::/user.slice\n", {machine, own}, 80 * 1024},
                                         {"version 1", in_docker, {machine, first, endless}, 2400},
                                         {"version 1 without a limit", in_docker, {machine, endless}, 80 * 1024},
                                         {"version 1, bound to the root", in_docker, {machine, bound}, 300},
                                         {"version 1 of other controllers", "9:pids:/docker/x\n", {machine, first}, 80 * 1024},
                                         {"lines that are none", "memory\n\n0:memory\n", {machine, first}, 80 * 1024}}) {
    INFO(row.what);
    const tollgate::test::TempDir dir;
    const auto write = [&](const std::string& name, const std::string& text) {
      std::filesystem::create_directories(std::filesystem::path(dir.File(name)).parent_path());
      std::ofstream(dir.File(name)) << text;
    };
    write("proc/self/cgroup", row.group);
    for (const Files& files : row.files) {
      for (const auto& [name, text] : files) write(name, text);
    }
    CHECK(MemoryAvailable(dir.path()) == row.left);
  }
}

TEST_CASE("A strict model's second copy is reckoned beside its first, on GPUs as in the machine's memory") {
  constexpr std::int64_t kGiB = 1 << 30;
  struct Row {
    const char* what;
    std::vector<std::int64_t> rooms_gib;
    std::int64_t memory_gib;
    const char* refused;  // Strict; alone each fits.
    const char* says = "";
  };
  for (const Row& row : std::vector<Row>{
           {"one and a half copies", {80}, 100, "its second copy, for strict answers: its 30 layers", "GPU 0 has 35"},
           {"two copies", {112}, 100, nullptr},
           {"a GPU for each", {60, 60}, 100, nullptr},
           {"the second over what is left of both", {80, 40}, 100, nullptr},
           {"each over two, together not", {40, 40}, 100, "its second copy", "GPU 1 has 1"},
           {"the machine's memory for one of them", {112}, 2, "its second copy, for strict answers: it needs about", "MiB are free"},
           {"no GPU, and memory for one", {}, 80, "its second copy, for strict answers: it needs about", "MiB are free"},
           {"no GPU, and memory for two", {}, 100, nullptr}}) {
    INFO(row.what);
    std::vector<DeviceRoom> rooms;
    for (const std::int64_t gib : row.rooms_gib) rooms.push_back({fmt::format("GPU {}", rooms.size()), gib * kGiB});
    ModelOptions model = Options();
    CHECK(CheckRoom(model, SmolHeader(), 45 * kGiB, row.memory_gib * kGiB, rooms).ok());
    model.strict = true;
    const absl::Status both = CheckRoom(model, SmolHeader(), 45 * kGiB, row.memory_gib * kGiB, rooms);
    INFO(both.ToString());
    CHECK(both.ok() == (row.refused == nullptr));
    if (row.refused == nullptr) continue;
    CHECK(both.code() == absl::StatusCode::kResourceExhausted);
    CHECK(base::Message(both).find(row.refused) != std::string::npos);
    CHECK(base::Message(both).find(row.says) != std::string::npos);
  }
}

TEST_CASE("What was promised is not given away twice, touched or not; what others gave back since counts") {
  std::int64_t now = 100;
  MemoryLimit limit(0, [&now] { return now; });
  CHECK(limit.Left(0) == 100);
  CHECK(limit.Left(60) == 40);  // Nothing of it is touched.
  now = 70;
  CHECK(limit.Left(60) == 40);  // A part of it, that is.
  now = 30;
  CHECK(limit.Left(60) == 30);  // Others took some.
  CHECK(limit.Left(0) == 30);
  now = 150;
  CHECK(limit.Left(60) == 90);  // And others gave some back.
  now = 90;
  CHECK(limit.Left(60) == 90);
  CHECK(limit.Left(160) == -10);

  const MemoryLimit fixed(50, [&now] { return now; });  // Whatever the machine has.
  CHECK(fixed.Left(0) == 50);
  CHECK(fixed.Left(60) == -10);
}

TEST_CASE("This machine has some memory") { CHECK(MemoryAvailable() > 1 << 20); }

}  // namespace
}  // namespace tollgate::inference
