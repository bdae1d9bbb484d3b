// Field by field. Bounds are those of tollgate.yaml's schema. A file's name has no "..", so that the registry reaches nothing outside of
// the folder that an instance's operator gave it. Tested by tests/gateway/directory/models_test.cpp.
#include "gateway/directory/models.h"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "gateway/directory/names.h"

namespace tollgate::directory {
namespace {

std::string Flag(bool on) { return on ? "t" : "f"; }

absl::Status InRange(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{}: is {}; use {} to {}", field, value, least, most));
}

absl::Status CheckFileName(const std::string& file) {
  const bool plain = std::all_of(file.begin(), file.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("._-+/").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (!file.empty() && file.size() <= 255 && plain && file.front() != '/' && file.find("..") == std::string::npos) return absl::OkStatus();
  return base::InvalidArgument(
      "file: use the file's path below pool.models_dir: 1 to 255 letters, digits and . _ - + /, not starting with / and without ..");
}

absl::Status CheckWord(const char* field, const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (plain && text.size() <= 64) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{}: use at most 64 printable ASCII characters", field));
}

// Nothing of how a model runs is an adapter's own to say.
absl::Status ValidateAdapter(const Model& model) {
  const base::AdapterNames parts = base::SplitAdapters(model.name);
  if (model.base.empty()) return base::InvalidArgument("base: name the model that the adapter changes");
  if (parts.base != model.base || parts.adapters.size() != 1)
    return base::InvalidArgument(
        fmt::format("model name: an adapter of {0} is called {0}:ADAPTER, of letters, digits and . _ -", model.base));
  TG_RETURN_IF_ERROR(CheckFileName(model.file));
  if (!model.sha256.has_value()) return base::InvalidArgument("sha256: is required, so that no other file is ever loaded in its place");
  TG_RETURN_IF_ERROR(CheckWord("licence", model.licence));
  TG_RETURN_IF_ERROR(InRange("scale, in millionths,", model.scale_millionths, 1, 16'000'000));
  Model as_base;
  as_base.name = model.name, as_base.engine = model.engine, as_base.file = model.file, as_base.sha256 = model.sha256;
  as_base.licence = model.licence, as_base.base = model.base, as_base.scale_millionths = model.scale_millionths;
  if (SameReplica(model, as_base)) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("engine: an adapter runs as {} does; leave out what says how a model runs", model.base));
}

// A model that embeds has no chats to lay out and no context to keep beyond a step.
absl::Status CheckPooling(const Model& model) {
  if (model.pooling.empty()) return absl::OkStatus();
  constexpr std::array<std::string_view, 5> kPoolings = {"model", "mean", "cls", "last", "rank"};
  if (std::find(kPoolings.begin(), kPoolings.end(), model.pooling) == kPoolings.end())
    return base::InvalidArgument("pooling: use model, mean, cls, last or rank; or leave it out for a model that chats");
  if (!model.chat_template.empty()) return base::InvalidArgument("chat_template: a model that embeds or reranks has none");
  if (model.strict) return base::InvalidArgument("strict: a model that embeds or reranks answers nothing that could be made again");
  return model.kv == "q8" ? base::InvalidArgument("kv: use f16 or f32 for a model that embeds or reranks") : absl::OkStatus();
}

absl::Status CheckCells(const Model& model) {
  if (model.kv_tokens == 0) return absl::OkStatus();
  if (!model.pooling.empty()) return base::InvalidArgument("kv_tokens: a model that embeds or reranks keeps no contexts to share");
  const std::int64_t all = model.slots * model.context_tokens;
  if (model.kv_tokens >= model.context_tokens && model.kv_tokens < all) return absl::OkStatus();
  return base::InvalidArgument(
      fmt::format("kv_tokens: is {}; use context_tokens, {}, to less than slots x context_tokens, {}; or leave it out, and each slot has "
                  "its own context",
                  model.kv_tokens, model.context_tokens, all));
}

}  // namespace

absl::Status Validate(const Model& model) {
  TG_RETURN_IF_ERROR(CheckModelName(model.name));
  if (model.name.find('+') != std::string::npos)
    return base::InvalidArgument("model name: '+' joins adapters in a call; use another character");
  if (model.engine == "lora") return ValidateAdapter(model);
  if (!model.base.empty() || model.scale_millionths != 1'000'000)
    return base::InvalidArgument("base: base and scale are an adapter's (engine lora)");
  if (model.engine == "llama") {
    TG_RETURN_IF_ERROR(CheckFileName(model.file));
    if (!model.sha256.has_value()) return base::InvalidArgument("sha256: is required, so that no other file is ever loaded in its place");
  } else if (model.engine == "openai") {
    return base::InvalidArgument(
        "engine: a model that other servers run (openai) is not registered: declare it in tollgate.yaml under pool.models, with the "
        "servers' addresses in upstream.endpoints, and start the instances again (docs/upstream.md)");
  } else if (model.engine != "scripted") {
    return base::InvalidArgument("engine: use llama, lora or scripted");
  } else if (!model.file.empty() || model.sha256.has_value()) {
    return base::InvalidArgument("file: the engine scripted has neither file nor sha256");
  }
  TG_RETURN_IF_ERROR(CheckWord("licence", model.licence));
  TG_RETURN_IF_ERROR(CheckWord("chat_template", model.chat_template));
  if (model.kv != "f16" && model.kv != "q8" && model.kv != "f32") return base::InvalidArgument("kv: use f16, q8 or f32");
  TG_RETURN_IF_ERROR(CheckPooling(model));
  TG_RETURN_IF_ERROR(InRange("context_tokens", model.context_tokens, 64, 1'048'576));
  TG_RETURN_IF_ERROR(InRange("slots", model.slots, 1, 256));
  TG_RETURN_IF_ERROR(InRange("threads", model.threads, 0, 512));
  TG_RETURN_IF_ERROR(InRange("queue_max", model.queue_max, 0, 100'000));
  TG_RETURN_IF_ERROR(InRange("queue_timeout_ms", model.queue_timeout_ms, 10, 3'600'000));
  TG_RETURN_IF_ERROR(InRange("prefix_cache_bytes", model.prefix_cache_bytes, 0, std::int64_t{1} << 40));
  TG_RETURN_IF_ERROR(InRange("step_target_ms", model.step_target_ms, 1, 10'000));
  return CheckCells(model);
}

Model ModelOf(const Row& row) {
  Model model;
  model.name = row.Text("name");
  model.engine = row.Text("engine");
  if (!row.IsNull("file")) model.file = row.Text("file");
  if (!row.IsNull("sha256") && row.Bytes("sha256").size() == base::Digest().size()) {
    model.sha256.emplace();
    std::copy(row.Bytes("sha256").begin(), row.Bytes("sha256").end(), model.sha256->begin());
  }
  model.licence = row.Text("licence");
  model.chat_template = row.Text("chat_template");
  model.context_tokens = row.Int("context_tokens");
  model.slots = row.Int("slots");
  model.threads = row.Int("threads");
  model.kv = row.Text("kv");
  model.queue_max = row.Int("queue_max");
  model.queue_timeout_ms = row.Int("queue_timeout_ms");
  model.prefix_cache_bytes = row.Int("prefix_cache_bytes");
  model.step_target_ms = row.Int("step_target_ms");
  if (!row.IsNull("pooling")) model.pooling = row.Text("pooling");
  if (!row.IsNull("kv_tokens")) model.kv_tokens = row.Int("kv_tokens");
  model.strict = !row.IsNull("strict") && row.Bool("strict");
  if (!row.IsNull("base")) model.base = row.Text("base");
  if (!row.IsNull("scale_millionths")) model.scale_millionths = row.Int("scale_millionths");
  model.restricted = row.Bool("restricted");
  model.loaded = row.Bool("loaded");
  model.retired = row.Bool("retired");
  return model;
}

void ToRow(const Model& model, Row& row) {
  row.Set("name", model.name);
  row.Set("engine", model.engine);
  row.Set("file", model.file.empty() ? base::Value() : base::Value(model.file));
  row.Set("sha256", model.sha256 ? base::Value(base::Blob{std::string(base::View(*model.sha256))}) : base::Value());
  row.Set("licence", model.licence);
  row.Set("chat_template", model.chat_template);
  row.Set("context_tokens", model.context_tokens);
  row.Set("slots", model.slots);
  row.Set("threads", model.threads);
  row.Set("kv", model.kv);
  row.Set("queue_max", model.queue_max);
  row.Set("queue_timeout_ms", model.queue_timeout_ms);
  row.Set("prefix_cache_bytes", model.prefix_cache_bytes);
  row.Set("step_target_ms", model.step_target_ms);
  row.Set("pooling", model.pooling.empty() ? base::Value() : base::Value(model.pooling));
  row.Set("strict", model.strict ? base::Value(Flag(true)) : base::Value());
  row.Set("kv_tokens", model.kv_tokens == 0 ? base::Value() : base::Value(model.kv_tokens));
  row.Set("base", model.base.empty() ? base::Value() : base::Value(model.base));
  row.Set("scale_millionths", model.base.empty() ? base::Value() : base::Value(model.scale_millionths));
  row.Set("restricted", Flag(model.restricted));
  row.Set("loaded", Flag(model.loaded));
  row.Set("retired", Flag(model.retired));
}

bool SameReplica(const Model& a, const Model& b) {
  const auto replica = [](const Model& m) {
    return std::tie(m.name, m.engine, m.file, m.sha256, m.licence, m.chat_template, m.context_tokens, m.slots, m.threads, m.kv, m.queue_max,
                    m.queue_timeout_ms, m.prefix_cache_bytes, m.step_target_ms, m.pooling, m.base, m.scale_millionths, m.strict,
                    m.kv_tokens);
  };
  return replica(a) == replica(b);
}

}  // namespace tollgate::directory
