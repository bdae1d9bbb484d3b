// models add, show, load, unload, retire, restrict, open: the registry (admin listener). Loading is done by the server after the call has
// returned; `load` looks until it is done, so that a script may go on with the next line.
//
// Tested by tests/gateway/cli/registry_test.cpp.
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/registry_commands.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/registry.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Registry;

constexpr std::chrono::milliseconds kLook{200};

struct RegistryOptions {
  std::string name;
  std::string reason;
  v1::ModelSpec spec;
  bool restricted = false;
};

std::string StateOf(const v1::RegisteredModel& model) {
  if (model.retired()) return "retired";
  switch (model.state()) {
    case v1::MODEL_STATE_LOADING: return "loading";
    case v1::MODEL_STATE_LOADED: return "loaded";
    case v1::MODEL_STATE_REFUSED: return "refused";
    case v1::MODEL_STATE_UNLOADING: return "unloading";
    default: return "unloaded";
  }
}

const char* MayUse(bool restricted) {
  return restricted ? "scopes whose allow-list names it" : "everybody whom no allow-list keeps from it";
}

std::string HowItRuns(const v1::ModelSpec& s) {
  std::string text = fmt::format("template  {}\n", s.chat_template().empty() ? "the file's own" : s.chat_template());
  text += fmt::format("runs      {} slots of {} tokens, kv {}, threads {}\n", s.slots(), ShowCount(s.context_tokens()), s.kv(),
                      s.threads() == 0 ? "all cores but one" : std::to_string(s.threads()));
  text += fmt::format("waits     {} requests, {} ms each; prompts in pieces of {} ms; prefix cache {} bytes\n", s.queue_max(),
                      ShowCount(s.queue_timeout_ms()), s.step_target_ms(), ShowCount(s.prefix_cache_bytes()));
  if (!s.pooling().empty()) text += fmt::format("pooling   {}\n", s.pooling());
  if (s.kv_tokens() > 0) text += fmt::format("shares    {} tokens among its slots\n", ShowCount(s.kv_tokens()));
  if (s.strict()) text += "strict    it gives strict answers too, from a second copy\n";
  return text;
}

void PrintModel(Context& context, const v1::RegisteredModel& model) {
  if (context.globals.json) return context.PrintJson(model);
  const v1::ModelSpec& s = model.spec();
  std::string text = fmt::format("model     {}  ({})\n", s.name(), StateOf(model));
  if (!model.problem().empty()) text += fmt::format("problem   {}\n", model.problem());
  text += fmt::format("engine    {}\n", s.engine());
  if (!s.base().empty()) text += fmt::format("base      {}, changed at scale {}\n", s.base(), s.scale());
  if (!s.file().empty()) text += fmt::format("file      {}\nsha256    {}\n", s.file(), s.sha256());
  text += fmt::format("licence   {}\n", s.licence().empty() ? "not stated" : s.licence());
  if (s.base().empty()) text += HowItRuns(s);
  text += fmt::format("used by   {}\nrecord    {}\n", MayUse(model.restricted()), model.record());
  context.Print(text);
}

std::optional<v1::RegisteredModel> Show(Context& context, const std::string& name) {
  v1::ShowModelRequest request;
  request.set_name(name);
  return Look<Registry>(context, Listener::kAdmin, &Registry::Stub::ShowModel, request);
}

void Add(Context& context, const RegistryOptions& options) {
  v1::AddModelRequest request;
  *request.mutable_spec() = options.spec;
  request.mutable_spec()->set_name(options.name);
  request.set_restricted(options.restricted);
  const auto model = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::AddModel, request);
  if (!model) return;
  if (context.globals.json) return context.PrintJson(*model);
  const std::string& name = model->spec().name();
  if (!model->spec().base().empty()) {
    return context.Print(
        fmt::format("adapter {0} is registered (record {1}); it costs what {2} does, unless it has a price of its own\n"
                    "next: tollgate models grant {0} …, then tollgate models load {0}\n",
                    name, model->record(), model->spec().base()));
  }
  context.Print(fmt::format("model {} is registered (record {})\nnext: tollgate prices set {} …, then tollgate models load {}\n", name,
                            model->record(), name, name));
}

// Until the server is done with it, or --timeout has passed.
std::optional<v1::RegisteredModel> Await(Context& context, const std::string& name, v1::ModelState while_it_is) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(context.globals.timeout_s);
  for (;;) {
    auto model = Show(context, name);
    if (!model || model->state() != while_it_is || std::chrono::steady_clock::now() > give_up) return model;
    std::this_thread::sleep_for(kLook);
  }
}

void Load(Context& context, const RegistryOptions& options) {
  v1::LoadModelRequest request;
  request.set_name(options.name);
  if (!Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::LoadModel, request)) return;
  const auto model = Await(context, options.name, v1::MODEL_STATE_LOADING);
  if (!model) return;
  if (model->state() == v1::MODEL_STATE_REFUSED) {
    const std::string next = fmt::format("it is tried again every minute; to give up: tollgate models unload {}", options.name);
    return context.Fail(kRefused, fmt::format("{}\n  {}", model->problem(), next));
  }
  if (context.globals.json) context.PrintJson(*model);
  if (model->state() == v1::MODEL_STATE_LOADED) {
    if (!context.globals.json) context.Print(fmt::format("model {} is loaded (record {})\n", options.name, model->record()));
  } else if (model->state() == v1::MODEL_STATE_LOADING) {
    context.Fail(kUnavailable, fmt::format("model {0} is still being loaded; look again: tollgate models show {0}", options.name));
  } else {
    context.Fail(kRefused, fmt::format("model {0} is not loaded: it was unloaded or retired meanwhile; look: tollgate models show {0}",
                                       options.name));
  }
}

void Unload(Context& context, const RegistryOptions& options) {
  v1::UnloadModelRequest request;
  request.set_name(options.name);
  const auto model = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::UnloadModel, request);
  if (!model) return;
  if (context.globals.json) return context.PrintJson(*model);
  context.Print(fmt::format("model {} takes no more requests and leaves memory when those under way have ended (record {})\n", options.name,
                            model->record()));
}

void Retire(Context& context, const RegistryOptions& options) {
  v1::RetireModelRequest request;
  request.set_name(options.name);
  request.set_reason(options.reason);
  const auto model = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::RetireModel, request);
  if (!model) return;
  if (context.globals.json) return context.PrintJson(*model);
  context.Print(fmt::format("model {} is retired (record {}); its file stays where it is\n", options.name, model->record()));
}

void Restrict(Context& context, const RegistryOptions& options, bool restricted) {
  v1::RestrictModelRequest request;
  request.set_name(options.name);
  request.set_restricted(restricted);
  const auto model = Ask<Registry>(context, Listener::kAdmin, &Registry::Stub::RestrictModel, request);
  if (!model) return;
  if (context.globals.json) return context.PrintJson(*model);
  context.Print(fmt::format("model {} may be used by {} (record {})\n", options.name, MayUse(restricted), model->record()));
}

void AddSpecOptions(CLI::App& command, RegistryOptions& options) {
  using Spec = v1::ModelSpec;
  Spec& spec = options.spec;
  const auto text = [&](const char* option, const char* about, auto set) {
    command.add_option_function<std::string>(
        option, [&spec, set](const std::string& value) { set(spec) = value; }, about);
  };
  const auto number = [&](const char* option, const char* about, void (Spec::*set)(google::protobuf::int64)) {
    command.add_option_function<std::int64_t>(
        option, [&spec, set](std::int64_t value) { (spec.*set)(value); }, about);
  };
  command.add_option("MODEL", options.name, "The name that clients call it by")->required();
  text("--file", "The GGUF file, below pool.models_dir", [](Spec& s) -> std::string& { return *s.mutable_file(); });
  text("--sha256", "The file's digest, 64 hexadecimal digits", [](Spec& s) -> std::string& { return *s.mutable_sha256(); });
  text("--licence", "SPDX name of the weights' licence", [](Spec& s) -> std::string& { return *s.mutable_licence(); });
  text("--template", "Chat format to render with, such as llama3; else what the file says",
       [](Spec& s) -> std::string& { return *s.mutable_chat_template(); });
  text("--kv", "How contexts are kept: f16, q8 or f32; else f16", [](Spec& s) -> std::string& { return *s.mutable_kv(); });
  text("--pooling", "It embeds or reranks instead of chatting: model (as its file says), mean, cls, last or rank",
       [](Spec& s) -> std::string& { return *s.mutable_pooling(); });
  text("--engine", "llama, or scripted for tests; else llama", [](Spec& s) -> std::string& { return *s.mutable_engine(); });
  text("--base", "Make it an adapter: the model that the file changes", [](Spec& s) -> std::string& { return *s.mutable_base(); });
  command.add_option_function<double>(
      "--scale", [&spec](double value) { spec.set_scale(value); }, "How strongly an adapter acts; else 1");
  number("--context", "Tokens of prompt and output that one request may use; else 2048", &Spec::set_context_tokens);
  number("--slots", "Requests that run at once; else 8", &Spec::set_slots);
  number("--kv-tokens", "Tokens that all slots share, fewer than slots x context; else each has its own", &Spec::set_kv_tokens);
  number("--threads", "Threads that compute; else all cores but one", &Spec::set_threads);
  number("--queue", "Requests that may wait for a slot; else 64", &Spec::set_queue_max);
  number("--queue-timeout", "Milliseconds that one may wait; else 30000", &Spec::set_queue_timeout_ms);
  number("--prefix-cache", "Bytes for what teams' own prompts begin with; else 268435456", &Spec::set_prefix_cache_bytes);
  number("--step", "Milliseconds of a piece of a long prompt; else 100", &Spec::set_step_target_ms);
  command.add_flag_callback(
      "--strict", [&spec] { spec.set_strict(true); }, "It gives strict answers too, from a second copy in memory");
  command.add_flag("--restricted", options.restricted, "Only scopes on whose allow-list an owner puts it may use it");
}

void AddPull(CLI::App& group, Context& context) {
  auto* pull = group.add_subcommand("pull", "Bring a model's file into the folder of models, on this machine");
  const auto pulled = std::make_shared<PullCommand>();
  pull->add_option("SOURCE", pulled->source, "A path, an http:// or https:// URL, or s3://BUCKET/KEY")->required();
  pull->add_option("--sha256", pulled->sha256, "What its digest must be, 64 hexadecimal digits")->required();
  pull->add_option("--to", pulled->folder, "The folder: pool.models_dir of tollgate.yaml")->capture_default_str();
  pull->add_option("--as", pulled->name, "Its name there; else the source's");
  pull->callback([&context, pulled] {
    if (!context.programs.pull) return context.Fail(kUsage, "this program was built without that command");
    context.exit_code = context.programs.pull(*pulled);
  });
  Teach(*pull,
        "Goes on where it was broken off. The file appears under its name only when its digest is right and its header is sound; its path\n"
        "goes to standard output. S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL.",
        {"tollgate models pull https://models.acme.example/qwen3-8b-q4.gguf --sha256 …",
         "tollgate models pull s3://models/qwen3-8b-q4.gguf --sha256 … --as qwen3.gguf"});
}
}  // namespace

void ListRegistered(Context& context, bool retired) {
  v1::ListRegisteredModelsRequest request;
  request.set_include_retired(retired);
  const auto reply =
      AskAll<Registry>(context, Listener::kAdmin, &Registry::Stub::ListModels, request, [](const auto& r) { return r.models_size(); });
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"model", "state", "> slots", "> context tokens", "kv", "licence", "used by", "sha256", "record"});
  for (const auto& m : reply->models()) {
    table.Add({m.spec().name(), StateOf(m), std::to_string(m.spec().slots()), ShowCount(m.spec().context_tokens()), m.spec().kv(),
               m.spec().licence(), m.restricted() ? "named" : "everybody", m.spec().sha256().substr(0, 16), m.record()});
  }
  context.Print(table.Text("no model is registered (those of tollgate.yaml are not in the registry); tollgate models add --help"));
}

void AddRegistryCommands(CLI::App& group, Context& context) {
  auto* add = group.add_subcommand("add", "Register a model; it is loaded by `models load`");
  const auto added = std::make_shared<RegistryOptions>();
  AddSpecOptions(*add, *added);
  add->callback([&context, added] { Add(context, *added); });
  Teach(*add,
        "The file must lie in pool.models_dir of every instance. It is loaded only if its digest is the registered one. Settings of a\n"
        "registered model never change: register another beside it, or retire it and register its name anew. With --base it is a LoRA "
        "adapter:\n"
        "restricted until `models open`, run as its base is, and called by its name, or with others of its base as BASE:ONE+OTHER.\n"
        "A model that other servers run (engine openai) is not registered: it stands in tollgate.yaml, under pool.models.",
        {"tollgate models add qwen3 --file qwen3-8b-q4.gguf --sha256 $(sha256sum qwen3-8b-q4.gguf | cut -c1-64) --context 8192",
         "tollgate models add bge --file bge-m3.gguf --sha256 … --pooling model",
         "tollgate models add legal --file legal.gguf --sha256 … --restricted",
         "tollgate models add qwen3:contracts --base qwen3 --file contracts.lora.gguf --sha256 …   # a LoRA adapter of qwen3"});

  struct Command {
    const char* name;
    const char* about;
    const char* more;
    void (*run)(Context&, const RegistryOptions&);
  };
  static constexpr Command kCommands[] = {
      {"show", "A registered model, its settings and how it stands", "",
       [](Context& c, const RegistryOptions& o) {
         if (const auto model = Show(c, o.name)) PrintModel(c, *model);
       }},
      {"load", "Load a registered model on every instance, and wait until this one has it",
       "It is loaded beside what is served, and a token is put through it before it takes requests. One that does not fit into memory is\n"
       "refused in numbers, with nothing changed. Waits for --timeout seconds.",
       Load},
      {"unload", "Take a model out of every instance",
       "New requests are refused at once; running ones may end within drain_ms. It stays registered.", Unload},
      {"restrict", "Only scopes on whose allow-list an owner puts the model may use it", "",
       [](Context& c, const RegistryOptions& o) { Restrict(c, o, true); }},
      {"open", "Everybody whom no allow-list keeps from the model may use it", "",
       [](Context& c, const RegistryOptions& o) { Restrict(c, o, false); }}};
  for (const Command& command : kCommands) {
    auto* sub = group.add_subcommand(command.name, command.about);
    const auto options = std::make_shared<RegistryOptions>();
    sub->add_option("MODEL", options->name, "Name of the model")->required();
    sub->callback([&context, options, run = command.run] { run(context, *options); });
    Teach(*sub, command.more, {fmt::format("tollgate models {} qwen3", command.name)});
  }

  AddPull(group, context);
  auto* retire = group.add_subcommand("retire", "Unload a model and take it out of the registry");
  const auto retired = std::make_shared<RegistryOptions>();
  retire->add_option("MODEL", retired->name, "Name of the model")->required();
  retire->add_option("--reason", retired->reason, "Why, for the record")->required();
  retire->callback([&context, retired] { Retire(context, *retired); });
  Teach(*retire, "Its name may be registered again, for another file too. Its file is not touched.",
        {"tollgate models retire qwen2 --reason \"replaced by qwen3\""});
}

}  // namespace tollgate::cli
