// The pool follows the registry: what shall be loaded is, what shall not is not, what cannot says why and is tried again.
#include "gateway/serve/model_keeper.h"

#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "base/encoding.h"
#include "base/mutex.h"
#include "gateway/directory/snapshot_builder.h"
#include "tests/gateway/directory/rows_of.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using directory::Model;

namespace {

class Registry final : public directory::Directory {
 public:
  absl::StatusOr<std::shared_ptr<const directory::Snapshot>> InForce() const override {
    base::Lock lock(mu_);
    return snapshot_;
  }
  // Registers a model, or changes it.
  void Put(const Model& model) {
    base::Lock lock(mu_);
    auto [row, is_new] = rows_.try_emplace(model.name, directory::NewRow(directory::Table::kModel));
    directory::ToRow(model, row->second);
    company_.Put(row->second);
    REQUIRE(builder_.Apply(company_.changed, company_.head).ok());
    company_.changed.clear();
    auto built = builder_.Build({});
    INFO(built.status());
    REQUIRE(built.ok());
    snapshot_ = *built;
  }

 private:
  mutable base::Mutex mu_;
  directory::test::Company company_ GUARDED_BY(mu_);
  directory::SnapshotBuilder builder_ GUARDED_BY(mu_){directory::test::kMacKey};
  std::map<std::string, directory::Row> rows_ GUARDED_BY(mu_);
  absl::StatusOr<std::shared_ptr<const directory::Snapshot>> snapshot_ GUARDED_BY(mu_) = base::Unavailable("nothing yet");
};

struct World {
  World() {
    inference::PoolOptions options;
    options.models.push_back({.name = "configured", .engine = inference::EngineKind::kScripted, .slots = 1});
    auto made = inference::Pool::Create(std::move(options));
    REQUIRE(made.ok());
    pool = *std::move(made);
  }
  serve::ModelKeeper& Keep(std::chrono::milliseconds retry = std::chrono::hours(1)) {
    serve::ModelKeeperOptions options{
        .models_dir = dir.path(), .drain = std::chrono::milliseconds(0), .look = std::chrono::milliseconds(2)};
    options.retry = retry;
    keeper = std::make_unique<serve::ModelKeeper>(registry, *pool, base::SystemClock(), std::move(options));
    return *keeper;
  }
  bool Loaded(const std::string& name) const {
    const auto models = pool->models();
    return std::any_of(models.begin(), models.end(), [&](const auto& m) { return m.name == name; });
  }
  std::int64_t Slots(const std::string& name) const {
    for (const auto& m : pool->models()) {
      if (m.name == name) return m.slots;
    }
    return 0;
  }
  void Await(const std::string& model, v1::ModelState state) const {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (keeper->StandingOf(model).state != state) {
      REQUIRE(std::chrono::steady_clock::now() < give_up);
      std::this_thread::yield();
    }
  }

  test::TempDir dir;
  Registry registry;
  std::unique_ptr<inference::Pool> pool;
  std::unique_ptr<serve::ModelKeeper> keeper;
};

Model Scripted(const std::string& name, bool loaded) {
  Model model;
  model.name = name;
  model.engine = "scripted";
  model.loaded = loaded;
  return model;
}

Model Llama(const std::string& name) {
  Model model;
  model.name = name;
  model.file = name + ".gguf";
  model.sha256 = base::Sha256("weights");
  model.loaded = true;
  return model;
}

}  // namespace

TEST_CASE("Models come and go as the registry says; those of tollgate.yaml stay") {
  World world;
  auto& keeper = world.Keep();
  world.registry.Put(Scripted("one", false));
  world.registry.Put(Scripted("two", true));
  world.Await("two", v1::MODEL_STATE_LOADED);
  CHECK(world.Loaded("two"));
  CHECK_FALSE(world.Loaded("one"));
  CHECK(keeper.Loading().empty());
  CHECK(keeper.IsConfigured("configured"));
  CHECK(keeper.Configured() == std::vector<std::string>{"configured"});
  CHECK_FALSE(keeper.IsConfigured("two"));

  world.registry.Put(Scripted("one", true));
  world.registry.Put(Scripted("two", false));
  world.Await("one", v1::MODEL_STATE_LOADED);
  world.Await("two", v1::MODEL_STATE_UNLOADED);
  CHECK_FALSE(world.Loaded("two"));

  Model retired = Scripted("one", false);
  retired.retired = true;
  world.registry.Put(retired);
  world.Await("one", v1::MODEL_STATE_UNLOADED);
  CHECK(world.Loaded("configured"));
}

TEST_CASE("A name that was registered anew with other settings is loaded anew") {
  World world;
  world.Keep();
  world.registry.Put(Scripted("one", true));
  world.Await("one", v1::MODEL_STATE_LOADED);
  Model other = Scripted("one", true);
  other.slots = 3;
  world.registry.Put(other);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (world.Slots("one") != 3 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  CHECK(world.Slots("one") == 3);
}

TEST_CASE("What cannot be loaded says why, makes nobody wait, and is tried again when asked to") {
  World world;
  auto& keeper = world.Keep();
  world.registry.Put(Llama("gone"));
  world.registry.Put(Scripted("configured", true));
  world.registry.Put(Scripted("two", true));
  world.Await("two", v1::MODEL_STATE_LOADED);
  world.Await("gone", v1::MODEL_STATE_REFUSED);
  world.Await("configured", v1::MODEL_STATE_REFUSED);
  CHECK(keeper.StandingOf("gone").problem.find("gone.gguf") != std::string::npos);
  CHECK(keeper.StandingOf("configured").problem.find("stands twice") != std::string::npos);
  CHECK(keeper.Loading().empty());
  CHECK(absl::IsNotFound(keeper.Check(Llama("gone"))));

  REQUIRE(base::WriteFileAtomically(world.dir.File("gone.gguf"), "GGUF but not really", 0644).ok());
  CHECK(absl::IsInvalidArgument(keeper.Check(Llama("gone"))));
  keeper.Retry("gone");
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (keeper.StandingOf("gone").problem.find("byte") == std::string::npos && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  CHECK(keeper.StandingOf("gone").problem.find("byte") != std::string::npos);
}

TEST_CASE("What could not be loaded is tried again after a while without being asked") {
  World world;
  world.Keep(std::chrono::milliseconds(1));
  Model model = Scripted("two", true);
  model.chat_template = "chatml";  // Which it does not have.
  world.registry.Put(model);
  world.Await("two", v1::MODEL_STATE_REFUSED);
  CHECK(world.keeper->StandingOf("two").problem.find("scripted") != std::string::npos);
  world.registry.Put(Scripted("two", true));
  world.Await("two", v1::MODEL_STATE_LOADED);
}

TEST_CASE("An instance waits for what the first snapshot wants loaded, and for nothing that is wanted or tried again later") {
  World world;
  SECTION("the first snapshot's models are awaited as long as they are wanted") {
    auto& keeper = world.Keep();
    keeper.Stop();  // It loads nothing, so that what is told does not depend on how fast it is.
    world.registry.Put(Scripted("one", true));
    CHECK(keeper.Loading() == std::vector<std::string>{"one"});
    world.registry.Put(Scripted("one", false));
    CHECK(keeper.Loading().empty());
  }
  SECTION("those that shall be loaded later are not") {
    auto& keeper = world.Keep();
    keeper.Stop();
    world.registry.Put(Scripted("one", false));
    CHECK(keeper.Loading().empty());
    world.registry.Put(Scripted("one", true));
    CHECK(keeper.Loading().empty());
  }
  SECTION("nor those that were refused and are tried again") {
    auto& keeper = world.Keep();
    world.registry.Put(Llama("gone"));
    world.Await("gone", v1::MODEL_STATE_REFUSED);
    CHECK(keeper.Loading().empty());
    keeper.Stop();
    keeper.Retry("gone");
    CHECK(keeper.StandingOf("gone").state == v1::MODEL_STATE_UNLOADED);
    CHECK(keeper.Loading().empty());
  }
}

TEST_CASE("Adapters follow their model: loaded after it, gone with it, back with it, and out alone") {
  World world;
  world.Keep();
  REQUIRE(base::WriteFileAtomically(world.dir.File("legal.gguf"), "matrices", 0644).ok());
  Model adapter;
  adapter.engine = "lora";
  adapter.name = "one:legal";
  adapter.base = "one";
  adapter.file = "legal.gguf";
  adapter.sha256 = base::Sha256("matrices");
  adapter.loaded = true;
  world.registry.Put(adapter);
  world.Await("one:legal", v1::MODEL_STATE_REFUSED);
  CHECK(world.keeper->StandingOf("one:legal").problem.find("model one is not loaded") != std::string::npos);
  CHECK(absl::IsNotFound(world.keeper->Check(adapter)));
  world.registry.Put(Scripted("one", true));
  world.Await("one:legal", v1::MODEL_STATE_LOADED);
  CHECK(world.Loaded("one:legal"));
  CHECK(world.keeper->Check(adapter).ok());

  world.registry.Put(Scripted("one", false));
  world.Await("one:legal", v1::MODEL_STATE_REFUSED);
  CHECK_FALSE(world.Loaded("one:legal"));
  world.registry.Put(Scripted("one", true));
  world.Await("one:legal", v1::MODEL_STATE_LOADED);

  adapter.loaded = false;
  world.registry.Put(adapter);
  world.Await("one:legal", v1::MODEL_STATE_UNLOADED);
  CHECK_FALSE(world.Loaded("one:legal"));
  CHECK(world.Loaded("one"));

  Model of_configured = adapter;  // Models of tollgate.yaml have adapters too.
  of_configured.name = "configured:legal";
  of_configured.base = "configured";
  of_configured.loaded = true;
  world.registry.Put(of_configured);
  world.Await("configured:legal", v1::MODEL_STATE_LOADED);
  CHECK(world.Loaded("configured:legal"));
}
