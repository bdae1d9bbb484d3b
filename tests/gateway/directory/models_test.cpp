#include "gateway/directory/models.h"

#include <catch2/catch_test_macros.hpp>

using namespace tollgate;
using directory::Model;

namespace {

Model Llama() {
  Model model;
  model.name = "qwen3";
  model.file = "qwen/qwen3-8b.gguf";
  model.sha256 = base::Sha256("weights");
  model.licence = "Apache-2.0";
  return model;
}

}  // namespace

TEST_CASE("A model's settings are checked one by one, and the refusal names the field") {
  struct Row {
    const char* field;  // How the refusal begins.
    void (*spoil)(Model&);
  };
  const Row rows[] = {
      {"model name", [](Model& m) { m.name = "two words"; }},
      {"file", [](Model& m) { m.file = ""; }},
      {"file", [](Model& m) { m.file = "/etc/passwd"; }},
      {"file", [](Model& m) { m.file = "a/../../b.gguf"; }},
      {"file", [](Model& m) { m.file = "a b.gguf"; }},
      {"sha256", [](Model& m) { m.sha256.reset(); }},
      {"engine", [](Model& m) { m.engine = "gpt"; }},
      {"engine: a model that other servers run (openai) is not registered: declare it in tollgate.yaml under pool.models",
       [](Model& m) { m.engine = "openai"; }},
      {"file", [](Model& m) { m.engine = "scripted"; }},
      {"licence", [](Model& m) { m.licence = std::string(65, 'x'); }},
      {"chat_template", [](Model& m) { m.chat_template = "a\nb"; }},
      {"kv", [](Model& m) { m.kv = "q4"; }},
      {"context_tokens", [](Model& m) { m.context_tokens = 63; }},
      {"slots", [](Model& m) { m.slots = 257; }},
      {"threads", [](Model& m) { m.threads = -1; }},
      {"queue_max", [](Model& m) { m.queue_max = -1; }},
      {"queue_timeout_ms", [](Model& m) { m.queue_timeout_ms = 9; }},
      {"prefix_cache_bytes", [](Model& m) { m.prefix_cache_bytes = -1; }},
      {"strict", [](Model& m) { m.pooling = "mean", m.strict = true; }},
      {"kv_tokens", [](Model& m) { m.pooling = "mean", m.kv_tokens = 4096; }},
      {"kv_tokens", [](Model& m) { m.context_tokens = 2048, m.kv_tokens = 2047; }},
      {"kv_tokens", [](Model& m) { m.context_tokens = 2048, m.slots = 4, m.kv_tokens = 8192; }},
      {"step_target_ms", [](Model& m) { m.step_target_ms = 0; }},
  };
  CHECK(directory::Validate(Llama()).ok());
  for (const Row& row : rows) {
    Model model = Llama();
    row.spoil(model);
    const absl::Status refused = directory::Validate(model);
    INFO(row.field << ": " << base::Message(refused));
    CHECK(absl::IsInvalidArgument(refused));
    CHECK(base::Message(refused).starts_with(row.field));
  }
}

TEST_CASE("An adapter names its base, is called after it, and says nothing of how a model runs") {
  const auto adapter = [] {
    Model model;
    model.engine = "lora";
    model.name = "qwen3:legal";
    model.base = "qwen3";
    model.file = "legal.gguf";
    model.sha256 = base::Sha256("matrices");
    model.licence = "Apache-2.0";
    model.scale_millionths = 500'000;
    return model;
  };
  CHECK(directory::Validate(adapter()).ok());
  struct Row {
    const char* field;
    void (*spoil)(Model&);
  };
  const Row rows[] = {
      {"base", [](Model& m) { m.base = ""; }},
      {"base", [](Model& m) { m.engine = "llama"; }},
      {"model name", [](Model& m) { m.name = "legal"; }},
      {"model name", [](Model& m) { m.name = "qwen4:legal"; }},
      {"model name", [](Model& m) { m.name = "qwen3:le/gal"; }},
      {"model name", [](Model& m) { m.name = "qwen3:legal+tone"; }},
      {"file", [](Model& m) { m.file = "../legal.gguf"; }},
      {"sha256", [](Model& m) { m.sha256.reset(); }},
      {"scale", [](Model& m) { m.scale_millionths = 0; }},
      {"scale", [](Model& m) { m.scale_millionths = 16'000'001; }},
      {"engine", [](Model& m) { m.slots = 4; }},
      {"engine", [](Model& m) { m.chat_template = "chatml"; }},
  };
  for (const Row& row : rows) {
    Model model = adapter();
    row.spoil(model);
    const absl::Status refused = directory::Validate(model);
    INFO(row.field << ": " << base::Message(refused));
    CHECK(absl::IsInvalidArgument(refused));
    CHECK(base::Message(refused).starts_with(row.field));
  }
  directory::Row row = directory::NewRow(directory::Table::kModel);
  directory::ToRow(adapter(), row);
  CHECK(SameReplica(directory::ModelOf(row), adapter()));
  Model other = adapter();
  other.scale_millionths = 1'000'000;
  CHECK_FALSE(SameReplica(other, adapter()));
  directory::ToRow(Llama(), row);
  CHECK(row.IsNull("base"));
  CHECK(row.IsNull("scale_millionths"));
}

TEST_CASE("A model survives its row, and a replica is another one when any of its settings differs") {
  Model model = Llama();
  model.kv = "q8";
  model.kv_tokens = 2048;
  model.restricted = model.loaded = true;
  directory::Row row = directory::NewRow(directory::Table::kModel);
  directory::ToRow(model, row);
  const Model back = directory::ModelOf(row);
  CHECK(SameReplica(model, back));
  CHECK(back.restricted);
  CHECK(back.loaded);
  CHECK_FALSE(back.retired);
  Model other = model;
  other.loaded = false;
  CHECK(SameReplica(model, other));
  other.sha256 = base::Sha256("other weights");
  CHECK_FALSE(SameReplica(model, other));

  Model scripted;
  scripted.name = "script";
  scripted.engine = "scripted";
  directory::ToRow(scripted, row);
  CHECK(row.IsNull("kv_tokens"));
  CHECK(row.IsNull("file"));
  CHECK(row.IsNull("sha256"));
  CHECK(SameReplica(directory::ModelOf(row), scripted));
}
