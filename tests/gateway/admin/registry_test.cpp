// The registry over the API: who may do what, and what the instance that answers says of a model.
#include "tests/gateway/admin/served.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;
using Stub = v1::Registry::Stub;

namespace {

struct World : test::Served {
  template <typename Request, typename Reply>
  grpc::Status Registry(const std::string& as, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                        const Request& request, Reply& reply) {
    return Call(as, v1::Registry::NewStub(channel), method, request, reply);
  }
  grpc::Status Add(const std::string& as, const std::string& name, bool restricted = false) {
    v1::AddModelRequest add;
    add.mutable_spec()->set_name(name);
    add.mutable_spec()->set_file(name + ".gguf");
    add.mutable_spec()->set_sha256(std::string(64, 'a'));
    add.set_restricted(restricted);
    return Registry(as, &Stub::AddModel, add, model);
  }
  grpc::Status Load(const std::string& as, const std::string& name) {
    v1::LoadModelRequest load;
    load.set_name(name);
    return Registry(as, &Stub::LoadModel, load, model);
  }
  std::string Listed(const std::string& as) {
    v1::ListRegisteredModelsReply reply;
    REQUIRE(Registry(as, &Stub::ListModels, v1::ListRegisteredModelsRequest(), reply).ok());
    std::string names;
    for (const auto& one : reply.models()) names += one.spec().name() + " ";
    return names;
  }
  v1::RegisteredModel model;
};

}  // namespace

TEST_CASE("Who reaches the whole installation manages the registry, and defaults are filled in") {
  World world;
  CHECK(world.Add("admin", "qwen3").error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Add("member", "qwen3").error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Add("operator", "qwen3").ok());
  CHECK(world.model.spec().engine() == "llama");
  CHECK(world.model.spec().context_tokens() == 2048);
  CHECK(world.model.spec().queue_max() == 64);
  CHECK(world.model.record().find('/') != std::string::npos);
  CHECK(world.model.state() == v1::MODEL_STATE_UNLOADED);
  CHECK(world.Add("first", "qwen3", true).error_code() == StatusCode::ALREADY_EXISTS);
  CHECK(world.Add("first", "configured").error_code() == StatusCode::ALREADY_EXISTS);
  CHECK(world.Add("first", "no good").error_code() == StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("Loading is asked for, and refused at once where this instance can tell") {
  World world;
  REQUIRE(world.Add("first", "qwen3").ok());
  world.models.check = base::ResourceExhausted("it needs about 9000 MiB and 100 MiB are free");
  const grpc::Status refused = world.Load("first", "qwen3");
  CHECK(refused.error_code() == StatusCode::RESOURCE_EXHAUSTED);
  CHECK(refused.error_message().find("nothing was changed") != std::string::npos);
  CHECK(refused.error_message().find("9000 MiB") != std::string::npos);
  world.models.check = absl::OkStatus();
  REQUIRE(world.Load("first", "qwen3").ok());
  CHECK(world.model.loaded());
  CHECK(world.model.state() == v1::MODEL_STATE_LOADING);
  CHECK(world.models.retried == "qwen3");
  world.models.standing = {v1::MODEL_STATE_REFUSED, "its digest differs"};
  v1::ShowModelRequest show;
  show.set_name("qwen3");
  REQUIRE(world.Registry("first", &Stub::ShowModel, show, world.model).ok());
  CHECK(world.model.state() == v1::MODEL_STATE_REFUSED);
  CHECK(world.model.problem() == "its digest differs");
  CHECK(world.Load("first", "nowhere").error_code() == StatusCode::NOT_FOUND);

  v1::UnloadModelRequest unload;
  unload.set_name("qwen3");
  REQUIRE(world.Registry("first", &Stub::UnloadModel, unload, world.model).ok());
  CHECK_FALSE(world.model.loaded());
}

TEST_CASE("A restricted model is known to those alone whose allow-list names it") {
  World world;
  REQUIRE(world.Add("first", "open").ok());
  REQUIRE(world.Add("first", "secret", true).ok());
  CHECK(world.Listed("first") == "open secret ");
  CHECK(world.Listed("admin") == "open ");
  v1::ShowModelRequest show;
  show.set_name("secret");
  CHECK(world.Registry("admin", &Stub::ShowModel, show, world.model).error_code() == StatusCode::NOT_FOUND);
  const auto granted = Must(world.in.changes->GrantModel(world.in.cli, {"acme", "search", {}, {}}, "secret"));
  REQUIRE(world.directory->WaitFor(granted.version, std::chrono::seconds(10)).ok());
  CHECK(world.Listed("admin") == "secret ");  // Its list names nothing else.
  CHECK(world.Listed("globex") == "open ");
  Must(world.in.changes->SetPrice(world.in.cli, {"secret", {1'000'000}, {1'000'000}, {2'000'000}, "EUR", 0}));
  const auto priced = Must(world.in.changes->SetPrice(world.in.cli, {"open", {1'000'000}, {1'000'000}, {2'000'000}, "EUR", 0}));
  REQUIRE(world.directory->WaitFor(priced.version, std::chrono::seconds(10)).ok());
  const auto prices = [&](const std::string& as) {
    v1::ListPricesReply reply;
    REQUIRE(world.Call(as, v1::Directory::NewStub(world.channel), &v1::Directory::Stub::ListPrices, v1::ListPricesRequest(), reply).ok());
    return reply.prices_size();
  };
  CHECK(prices("first") == 2);
  CHECK(prices("admin") == 2);
  CHECK(prices("globex") == 1);
  const auto stops = [&](const std::string& as) {
    v1::ListStopsReply listed;
    v1::StatusReply status;
    REQUIRE(world.Call(as, v1::System::NewStub(world.channel), &v1::System::Stub::ListStops, v1::ListStopsRequest(), listed).ok());
    REQUIRE(world.Call(as, v1::System::NewStub(world.channel), &v1::System::Stub::Status, v1::StatusRequest(), status).ok());
    CHECK(status.stops_size() == listed.stops_size());
    return listed.stops_size();
  };
  for (const char* name : {"secret", "open", "configured", "nobody-knows"}) {
    Must(world.in.changes->Stop(world.in.cli, {admin::StopTarget::Kind::kModel, name, {}}, "a leak of acme's deal data"));
  }
  Must(world.in.changes->SetPrice(world.in.cli, {"nobody-knows", {1'000'000}, {1'000'000}, {2'000'000}, "EUR", 0}));
  for (const bool retired : {false, true}) {
    INFO("retired " << retired);
    if (retired) Must(world.in.changes->RetireModel(world.in.cli, "secret", "a test"));
    REQUIRE(world.directory->WaitFor(world.in.last_version, std::chrono::seconds(10)).ok());
    CHECK(stops("operator") == 4);
    CHECK(stops("admin") == (retired ? 2 : 3));
    CHECK(stops("globex") == 2);
    CHECK(prices("first") == 3);
    CHECK(prices("admin") == (retired ? 1 : 2));
    CHECK(prices("globex") == 1);
  }
  REQUIRE(world.Add("first", "secret", true).ok());

  v1::RestrictModelRequest open;
  open.set_name("secret");
  REQUIRE(world.Registry("operator", &Stub::RestrictModel, open, world.model).ok());
  CHECK(world.Listed("globex") == "open secret ");
  v1::RetireModelRequest retire;
  retire.set_name("secret");
  retire.set_reason("a test");
  REQUIRE(world.Registry("operator", &Stub::RetireModel, retire, world.model).ok());
  CHECK(world.model.retired());
  CHECK(world.Listed("globex") == "open ");
}

TEST_CASE("Aliases are set by who manages models, and known to who may use all that they name") {
  World world;
  REQUIRE(world.Add("first", "secret", true).ok());
  v1::SetAliasRequest set;
  set.set_name("chat");
  set.add_targets()->set_model("qwen3");
  v1::ModelAlias alias;
  CHECK(world.Registry("operator", &Stub::SetAlias, set, alias).error_code() == StatusCode::INVALID_ARGUMENT);  // Weight 0.
  set.mutable_targets(0)->set_weight(1);
  CHECK(world.Registry("admin", &Stub::SetAlias, set, alias).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  CHECK(alias.in_force());
  CHECK(alias.previous_targets_size() == 0);
  const auto seen = [&](const std::string& as) {
    v1::ListAliasesReply reply;
    REQUIRE(world.Registry(as, &Stub::ListAliases, v1::ListAliasesRequest(), reply).ok());
    return reply.aliases_size();
  };
  CHECK(seen("admin") == 1);
  set.add_fallbacks("secret");
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  CHECK(alias.previous_targets_size() == 1);
  CHECK(seen("admin") == 0);
  CHECK(seen("first") == 1);
  v1::RollbackAliasRequest back;
  back.set_name("chat");
  REQUIRE(world.Registry("operator", &Stub::RollbackAlias, back, alias).ok());
  CHECK(alias.fallbacks_size() == 0);
  CHECK(seen("admin") == 1);
  v1::RemoveAliasRequest remove;
  remove.set_name("chat");
  REQUIRE(world.Registry("operator", &Stub::RemoveAlias, remove, alias).ok());
  CHECK_FALSE(alias.in_force());
  CHECK(seen("first") == 0);
}

TEST_CASE("What an alias led to before is told to those alone who may see every model of it") {
  World world;
  REQUIRE(world.Add("first", "secret", true).ok());
  v1::SetAliasRequest set;
  v1::ModelAlias alias;
  set.set_name("chat");
  set.add_targets()->set_model("qwen3");
  set.mutable_targets(0)->set_weight(1);
  set.add_fallbacks("secret");
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  set.clear_fallbacks();
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  const auto before = [&](const std::string& as) {
    v1::ListAliasesReply reply;
    REQUIRE(world.Registry(as, &Stub::ListAliases, v1::ListAliasesRequest(), reply).ok());
    REQUIRE(reply.aliases_size() == 1);
    CHECK(reply.aliases(0).targets(0).model() == "qwen3");
    return reply.aliases(0).previous_targets_size() + reply.aliases(0).previous_fallbacks_size();
  };
  CHECK(before("admin") == 0);
  CHECK(before("first") == 2);
  v1::RetireModelRequest retire;
  retire.set_name("secret");
  retire.set_reason("a test");
  REQUIRE(world.Registry("operator", &Stub::RetireModel, retire, world.model).ok());
  CHECK(before("admin") == 0);  // Its name does not come out with it.
  CHECK(before("first") == 2);
}

TEST_CASE("An adapter is registered for a model that there is, restricted until it is opened, and goes before its model") {
  World world;
  REQUIRE(world.Add("first", "qwen3").ok());
  v1::AddModelRequest add;
  add.mutable_spec()->set_name("qwen3:legal");
  add.mutable_spec()->set_base("qwen3");
  add.mutable_spec()->set_file("legal.gguf");
  add.mutable_spec()->set_sha256(std::string(64, 'b'));
  add.mutable_spec()->set_scale(0.5);
  CHECK(world.Registry("admin", &Stub::AddModel, add, world.model).error_code() == StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Registry("operator", &Stub::AddModel, add, world.model).ok());
  CHECK(world.model.spec().engine() == "lora");
  CHECK(world.model.spec().base() == "qwen3");
  CHECK(world.model.spec().scale() == 0.5);
  CHECK(world.model.spec().slots() == 0);
  CHECK(world.model.restricted());
  CHECK(world.Listed("admin") == "qwen3 ");
  REQUIRE(world.Registry("operator", &Stub::AddModel, add, world.model).ok());  // Nothing changed.
  const auto refused = [&](const char* name, const char* base, double scale, StatusCode code) {
    add.mutable_spec()->set_name(name);
    add.mutable_spec()->set_base(base);
    add.mutable_spec()->set_scale(scale);
    const grpc::Status status = world.Registry("operator", &Stub::AddModel, add, world.model);
    INFO(name << ": " << status.error_message());
    CHECK(status.error_code() == code);
  };
  refused("qwen4:legal", "qwen4", 1, StatusCode::NOT_FOUND);
  refused("qwen3:legal:x", "qwen3:legal", 1, StatusCode::INVALID_ARGUMENT);
  refused("legal", "qwen3", 1, StatusCode::INVALID_ARGUMENT);
  refused("qwen3:loud", "qwen3", 17, StatusCode::INVALID_ARGUMENT);
  refused("qwen3:legal", "qwen3", 1, StatusCode::ALREADY_EXISTS);  // With another scale.
  add.mutable_spec()->set_name("configured:tone");
  add.mutable_spec()->set_base("configured");
  REQUIRE(world.Registry("operator", &Stub::AddModel, add, world.model).ok());

  v1::RetireModelRequest retire;
  retire.set_reason("a test");
  retire.set_name("qwen3");
  const grpc::Status held = world.Registry("operator", &Stub::RetireModel, retire, world.model);
  CHECK(held.error_code() == StatusCode::FAILED_PRECONDITION);
  CHECK(held.error_message().find("qwen3:legal") != std::string::npos);
  v1::SetAliasRequest set;
  set.set_name("lawyer");
  set.add_targets()->set_model("qwen3:legal+tone");
  set.mutable_targets(0)->set_weight(1);
  v1::ModelAlias alias;
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  retire.set_name("qwen3:legal");
  CHECK(world.Registry("operator", &Stub::RetireModel, retire, world.model).error_code() == StatusCode::FAILED_PRECONDITION);
  v1::RemoveAliasRequest remove;
  remove.set_name("lawyer");
  remove.set_reason("a test");
  REQUIRE(world.Registry("operator", &Stub::RemoveAlias, remove, alias).ok());
  REQUIRE(world.Registry("operator", &Stub::RetireModel, retire, world.model).ok());
  retire.set_name("qwen3");
  CHECK(world.Registry("operator", &Stub::RetireModel, retire, world.model).ok());
}

TEST_CASE("An alias over a name that rules are for is set with a warning that names them, by org") {
  World world;
  REQUIRE(world.Add("first", "gpt-x").ok());
  REQUIRE(world.Add("first", "qwen3").ok());
  v1::PutPolicyRequest put;
  put.set_name("house");
  put.set_yaml(
      "version: 1\nname: house\nrules:\n"
      "  - {id: guarded, where: {model: [gpt-x, qwen4]}, detect: {keywords: bluebird}, do: block}\n"
      "  - {id: of-others, where: {model: qwen3}, detect: {keywords: heron}, do: block}\n"
      "  - {id: of-all, detect: {keywords: falcon}, do: block}\n");
  v1::StoredPolicy stored;
  REQUIRE(world.Call("author", v1::Policy::NewStub(world.channel), &v1::Policy::Stub::Put, put, stored).ok());
  v1::SetAliasRequest set;
  set.set_name("gpt-x");
  set.add_targets()->set_model("qwen3");
  set.mutable_targets(0)->set_weight(1);
  v1::ModelAlias alias;
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  REQUIRE(alias.warnings_size() == 1);
  CHECK(alias.warnings(0) ==
        "org acme: these rules are for a model of this name: guarded; `gpt-x` is an alias; rules go by the model that it leads to: qwen3");
  set.mutable_targets(0)->set_model("gpt-x");
  alias.Clear();
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  CHECK(alias.warnings().empty());  // It leads to the model of its name alone.
  v1::RollbackAliasRequest back;
  back.set_name("gpt-x");
  back.set_reason("a test");
  alias.Clear();
  REQUIRE(world.Registry("operator", &Stub::RollbackAlias, back, alias).ok());
  CHECK(alias.warnings_size() == 1);
  v1::RemoveAliasRequest remove;
  remove.set_name("gpt-x");
  remove.set_reason("a test");
  alias.Clear();
  REQUIRE(world.Registry("operator", &Stub::RemoveAlias, remove, alias).ok());
  CHECK(alias.warnings().empty());
  set.set_name("chat");
  set.mutable_targets(0)->set_model("qwen3");
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  CHECK(alias.warnings().empty());
}

TEST_CASE("A configured model whose name an alias has is stopped, and the answer says what the alias leads to besides") {
  World world;
  v1::SetAliasRequest set;
  set.set_name("configured");
  for (const char* model : {"qwen3", "qwen4"}) {
    set.add_targets()->set_model(model);
    set.mutable_targets()->rbegin()->set_weight(1);
  }
  v1::ModelAlias alias;
  REQUIRE(world.Registry("operator", &Stub::SetAlias, set, alias).ok());
  v1::StopRequest request;
  request.mutable_target()->set_model("configured");
  request.set_reason("a leak");
  v1::EmergencyStop stop;
  const grpc::Status stopped = world.Call("operator", v1::System::NewStub(world.channel), &v1::System::Stub::Stop, request, stop);
  INFO(stopped.error_message());
  REQUIRE(stopped.ok());
  REQUIRE(stop.warnings_size() == 1);
  CHECK(stop.warnings(0).ends_with("which go on: qwen3 qwen4"));
}
