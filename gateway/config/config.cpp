// Loading is three steps: yaml-cpp parses, Reader copies by reflection and complains, and here come defaults, required fields and the few
// checks between fields. yaml-cpp's exceptions end in Parse.
//
// Tested by tests/gateway/config/config_test.cpp.
#include "gateway/config/config.h"

#include <charconv>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "base/encoding.h"
#include "base/networks.h"
#include "base/yaml_documents.h"
#include "gateway/config/reader.h"
#include "gateway/config/schema.h"

namespace tollgate::config {
namespace {
using google::protobuf::Message;
using google::protobuf::Reflection;
constexpr std::size_t kFileBytesMax = 1 << 20;
constexpr int kEndpointsMax = 64;  // As inference::UpstreamFleet has it.

void SetDefault(const Field& field, const std::string& text, Message& out) {
  const Reflection& reflection = *out.GetReflection();
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  switch (field.cpp_type()) {
    case Field::CPPTYPE_BOOL: return reflection.SetBool(&out, &field, text == "true");
    case Field::CPPTYPE_INT32: return reflection.SetInt32(&out, &field, static_cast<std::int32_t>(number));
    case Field::CPPTYPE_INT64: return reflection.SetInt64(&out, &field, number);
    default: return reflection.SetString(&out, &field, text);
  }
}

void Fill(const std::string& path, Message& out) {
  const Descriptor& type = *out.GetDescriptor();
  const Reflection& reflection = *out.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const Field& field = *type.field(i);
    const std::string field_path = path.empty() ? field.name() : path + "." + field.name();
    if (field.is_repeated()) {
      if (field.cpp_type() != Field::CPPTYPE_MESSAGE) continue;
      for (int j = 0; j < reflection.FieldSize(out, &field); ++j) Fill(field_path, *reflection.MutableRepeatedMessage(&out, &field, j));
    } else if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
      Fill(field_path, *reflection.MutableMessage(&out, &field));
    } else if (!reflection.HasField(out, &field) && !SettingOf(field).required()) {
      SetDefault(field, DefaultOf(field, field_path), out);
    }
  }
}

void CheckRequired(const std::string& path, const Message& message, Reader& reader) {
  const Descriptor& type = *message.GetDescriptor();
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const Field& field = *type.field(i);
    const std::string field_path = path.empty() ? field.name() : path + "." + field.name();
    if (field.is_repeated()) {
      if (field.cpp_type() != Field::CPPTYPE_MESSAGE) continue;
      for (int j = 0; j < reflection.FieldSize(message, &field); ++j) {
        CheckRequired(fmt::format("{}[{}]", field_path, j), reflection.GetRepeatedMessage(message, &field, j), reader);
      }
    } else if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
      CheckRequired(field_path, reflection.GetMessage(message, &field), reader);
    } else if (SettingOf(field).required() && !reflection.HasField(message, &field) && reader.IsSound(field_path)) {
      reader.Complain(field_path, fmt::format("{} is missing; {}", field_path, SettingOf(field).about()));
    }
  }
}

// Of "http://HOST:PORT/PATH" what stands between the slashes.
std::string_view AuthorityOf(std::string_view url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string_view::npos) return "";
  return url.substr(begin + 3, url.find_first_of("/?#", begin + 3) - begin - 3);
}

void CheckEndpoint(const std::string& at, const std::string& url, Reader& reader) {
  if (!reader.IsSound(at)) return;
  if (url.find_first_of("@?#") != std::string::npos)
    return reader.Complain(at, fmt::format("{} holds more than http://HOST:PORT; secrets belong into upstream.bearer_file", at));
  if (url.find('/', url.find("://") + 3) == std::string::npos) return;
  reader.Complain(at, fmt::format("{} has a path behind http://HOST:PORT; leave it out, /v1 and /health are added", at));
}

void CheckUpstream(const std::string& path, const tollgate::v1::Config::Model& model, Reader& reader) {
  if (model.file().empty() && reader.IsSound(path + ".file")) {
    reader.Complain(path + ".file",
                    fmt::format("{}.file is missing; engine openai counts prompts by the vocabulary of the model's GGUF file: name one, "
                                "its weights are not read",
                                path));
  }
  const auto& upstream = model.upstream();
  if (upstream.endpoints().empty() && reader.IsSound(path + ".upstream.endpoints"))
    reader.Complain(path + ".upstream.endpoints",
                    fmt::format("{}.upstream.endpoints is empty; name at least one server: `- url: http://HOST:PORT`", path));
  if (upstream.endpoints_size() > kEndpointsMax)
    reader.Complain(path + ".upstream.endpoints", fmt::format("{}.upstream.endpoints has {} entries; at most {} are taken", path,
                                                              upstream.endpoints_size(), kEndpointsMax));
  for (int i = 0; i < upstream.endpoints_size(); ++i)
    CheckEndpoint(fmt::format("{}.upstream.endpoints[{}].url", path, i), upstream.endpoints(i).url(), reader);
  const bool both_sound = reader.IsSound(path + ".upstream.certificate_file") && reader.IsSound(path + ".upstream.key_file");
  if (both_sound && upstream.certificate_file().empty() != upstream.key_file().empty())
    reader.Complain(path + ".upstream.key_file",
                    fmt::format("{}.upstream.certificate_file and key_file go together; set both or none", path));
}

// What a model's memory can be: see inference::CheckModel, which refuses the same to whoever asks in another way.
void CheckMemory(const std::string& path, const tollgate::v1::Config::Model& model, Reader& reader) {
  for (const char* field : {".engine", ".slots", ".context_tokens", ".kv_tokens", ".strict", ".pooling"}) {
    if (!reader.IsSound(path + field)) return;
  }
  const std::int64_t all = std::int64_t{model.slots()} * model.context_tokens();
  const bool chats_here = model.engine() != "openai" && model.pooling() == "none";
  if (model.strict() && !chats_here)
    reader.Complain(
        path + ".strict",
        fmt::format("{}.strict is true; strict answers are of models that chat in this process: leave it out with engine openai "
                    "and with pooling",
                    path));
  if (model.kv_tokens() == 0) return;
  if (!chats_here) {
    reader.Complain(path + ".kv_tokens", fmt::format("{}.kv_tokens is set; leave it out with engine openai and with pooling", path));
  } else if (model.kv_tokens() < model.context_tokens() || model.kv_tokens() >= all) {
    reader.Complain(path + ".kv_tokens",
                    fmt::format("{}.kv_tokens is {}; it must be at least context_tokens, {}, and less than slots x context_tokens, {}",
                                path, model.kv_tokens(), model.context_tokens(), all));
  }
}

void CheckModels(const tollgate::v1::Config& config, Reader& reader) {
  std::map<std::string, int> names;
  for (int i = 0; i < config.pool().models_size(); ++i) {
    const auto& model = config.pool().models(i);
    const std::string path = fmt::format("pool.models[{}]", i);
    const bool engine_sound = reader.IsSound(path + ".engine");
    if (engine_sound && model.engine() == "llama" && model.file().empty() && reader.IsSound(path + ".file")) {
      reader.Complain(path + ".file", fmt::format("{}.file is missing; engine llama needs the path of a GGUF file", path));
    }
    if (engine_sound && model.engine() == "openai") CheckUpstream(path, model, reader);
    CheckMemory(path, model, reader);
    if (const auto [at, fresh] = names.emplace(model.name(), i); !fresh && !model.name().empty()) {
      reader.Complain(path + ".name", fmt::format("{}.name is \"{}\", as pool.models[{}] has it already; names must differ", path,
                                                  model.name(), at->second));
    }
  }
}

void CheckListeners(const tollgate::v1::Config& config, Reader& reader) {
  const auto& l = config.listeners();
  std::map<int, std::string> used;
  const std::pair<const char*, const tollgate::v1::Config::Listener*> all[] = {{"listeners.grpc", &l.grpc()},
                                                                               {"listeners.http", &l.http()},
                                                                               {"listeners.admin_grpc", &l.admin_grpc()},
                                                                               {"listeners.probes", &l.probes()}};
  for (const auto& [name, listener] : all) {
    const std::string address = std::string(name) + ".address";
    if (reader.IsSound(address) && !base::ParseIp(listener->address()))
      reader.Complain(address, fmt::format("{} is \"{}\"; it must be a numeric IPv4 or IPv6 address, such as 127.0.0.1 or ::", address,
                                           listener->address()));
    if (!listener->enabled() || listener->port() == 0 || !reader.IsSound(name)) continue;
    const auto [at, fresh] = used.emplace(listener->port(), name);
    if (!fresh)
      reader.Complain(std::string(name) + ".port", fmt::format("{}.port is {}, as that of {}; each listener needs a port of its own", name,
                                                               listener->port(), at->second));
  }
}

void CheckProxies(const tollgate::v1::Config& config, Reader& reader) {
  for (int i = 0; i < config.trusted_proxies_size(); ++i) {
    const std::string at = fmt::format("trusted_proxies[{}]", i);
    const auto network = base::Networks::Parse({&config.trusted_proxies(i), 1});
    if (reader.IsSound(at) && !network.ok()) reader.Complain(at, fmt::format("{}: {}", at, base::Message(network.status())));
  }
}

void CheckDetectors(const tollgate::v1::Config& config, Reader& reader) {
  std::map<std::string, int> names;
  for (int i = 0; i < config.detectors_size(); ++i) {
    const auto& detector = config.detectors(i);
    const std::string path = fmt::format("detectors[{}]", i);
    if (const auto [at, fresh] = names.emplace(detector.name(), i); !fresh && !detector.name().empty()) {
      reader.Complain(path + ".name", fmt::format("{}.name is \"{}\", as detectors[{}] has it already; names must differ", path,
                                                  detector.name(), at->second));
    }
    if (reader.IsSound(path + ".url") && AuthorityOf(detector.url()).find('@') != std::string_view::npos)
      reader.Complain(path + ".url", fmt::format("{}.url holds a name or a password; a secret belongs into bearer_file", path));
  }
}

void CheckBetweenFields(const tollgate::v1::Config& config, Reader& reader) {
  CheckModels(config, reader);
  CheckListeners(config, reader);
  CheckProxies(config, reader);
  CheckDetectors(config, reader);
  const auto& requests = config.requests();
  const auto sound = [&](std::string_view one, std::string_view other) { return reader.IsSound(one) && reader.IsSound(other); };
  if (requests.deadline_default_ms() > requests.deadline_max_ms() && sound("requests.deadline_default_ms", "requests.deadline_max_ms")) {
    reader.Complain(
        "requests.deadline_default_ms",
        fmt::format("requests.deadline_default_ms is {}, more than requests.deadline_max_ms, {}; lower the one or raise the other",
                    requests.deadline_default_ms(), requests.deadline_max_ms()));
  }
  const auto& journal = config.journal();
  if (journal.batch_records_max() > journal.queue_records_max() && sound("journal.batch_records_max", "journal.queue_records_max")) {
    reader.Complain(
        "journal.batch_records_max",
        fmt::format("journal.batch_records_max is {}, more than journal.queue_records_max, {}; a batch cannot be larger than the queue",
                    journal.batch_records_max(), journal.queue_records_max()));
  }
  // A prompt may stand in its record twice: as it came, and as policy changed it.
  if (journal.queue_bytes_max() / 2 < requests.body_bytes_max() && sound("journal.queue_bytes_max", "requests.body_bytes_max")) {
    reader.Complain(
        "journal.queue_bytes_max",
        fmt::format("journal.queue_bytes_max is {}, less than twice requests.body_bytes_max, {}: the record of a large request would never "
                    "find room; raise the one or lower the other",
                    journal.queue_bytes_max(), requests.body_bytes_max()));
  }
}
}  // namespace

void FillDefaults(tollgate::v1::Config& config) { Fill("", config); }

tollgate::v1::Config Defaults() {
  tollgate::v1::Config config;
  FillDefaults(config);
  return config;
}

absl::StatusOr<tollgate::v1::Config> Parse(std::string_view yaml, const std::string& name, const std::string& folder, Files files) {
  if (yaml.size() > kFileBytesMax)
    return base::InvalidArgument(fmt::format("{}:1:1: the file has {} bytes; at most {} are read", name, yaml.size(), kFileBytesMax));
  if (yaml.starts_with("\xFF\xFE") || yaml.starts_with("\xFE\xFF"))
    return base::InvalidArgument(fmt::format("{}:1:1: the file is UTF-16; save it as UTF-8", name));
  tollgate::v1::Config config;
  Reader reader(name, folder, files);
  try {
    const base::YamlDocuments documents = base::ReadYaml(std::string(yaml));
    if (!documents.first.IsDefined()) {
      return base::InvalidArgument(fmt::format("{}:1:1: the file is empty; `tollgate config example` prints one to start from", name));
    }
    if (documents.second)
      return base::InvalidArgument(fmt::format("{}:{}:1: a second YAML document begins here; keep one", name, documents.second->line + 1));
    reader.ReadSection(documents.first, "", config);
  } catch (const YAML::Exception& error) {
    return base::InvalidArgument(fmt::format("{}:{}:{}: this is not YAML: {}", name, std::max(error.mark.line, 0) + 1,
                                             std::max(error.mark.column, 0) + 1, error.msg));
  }
  FillDefaults(config);
  CheckRequired("", config, reader);
  CheckBetweenFields(config, reader);
  if (!reader.ok()) return base::InvalidArgument(fmt::format("{}", fmt::join(reader.Problems(), "\n")));
  return config;
}

absl::StatusOr<tollgate::v1::Config> Load(const std::string& path, Files files) {
  const auto text = base::ReadFile(path);
  if (absl::IsNotFound(text.status())) {
    return base::NotFound(
        fmt::format("there is no {}; name the configuration with --config, or make one: tollgate config example > tollgate.yaml", path));
  }
  if (!text.ok()) {
    return base::FailedPrecondition(
        fmt::format("{}; whom this program runs as has to be able to read it, and to enter its folder", base::Message(text.status())));
  }
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
  return Parse(*text, path, absolute.parent_path().string(), files);
}

}  // namespace tollgate::config
