#include "tests/gateway/pipeline/world.h"

#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/directory/chat_defaults.h"
#include "gateway/directory/snapshot_builder.h"
#include "gateway/identity/api_key.h"
#include "tests/support/memory_keys.h"

namespace tollgate::test {

namespace v1 = tollgate::v1;
using directory::Table;

namespace {

const std::string kMacKey(32, 'm');

std::string Bool(bool on) { return on ? "t" : "f"; }

}  // namespace

const std::string World::kPepper(32, 'p');

World::World(const std::string& policy_yaml) : keys_(std::make_unique<MemoryKeys>()) {
  directory::Row org = directory::NewRow(Table::kOrg);
  org.Set("name", std::string("acme"));
  org.Set("blocked", Bool(false));
  directory::Row team = directory::NewRow(Table::kTeam);
  team.Set("org", org.id.ToString());
  team.Set("name", std::string("search"));
  team.Set("blocked", Bool(false));
  directory::Row project = directory::NewRow(Table::kProject);
  project.Set("org", org.id.ToString());
  project.Set("team", team.id.ToString());
  project.Set("name", std::string("web"));
  project.Set("blocked", Bool(false));
  const identity::ApiKey api_key = identity::MintApiKey(identity::Environment::kLive);
  key_text = identity::FormatApiKey(api_key);
  directory::Row key = directory::NewRow(Table::kKey);
  key.Set("org", org.id.ToString());
  key.Set("project", project.id.ToString());
  key.Set("public_id", api_key.public_id);
  key.Set("name", std::string("web-key"));
  key.Set("owner", std::string("ada"));
  key.Set("secret_hmac", base::Blob{std::string(base::View(identity::SecretHmac(kPepper, api_key.secret)))});
  key.Set("roles", std::string("member"));
  key.Set("created_us", base::ToMicros(clock.Wall()));
  key.Set("dev", Bool(false));
  directory::Row price = directory::NewRow(Table::kPrice);
  price.Set("price_version", std::int64_t{1});
  price.Set("model", std::string("script"));
  price.Set("effective_from_us", std::int64_t{0});
  price.Set("input_nanos", std::int64_t{1000});
  price.Set("cached_input_nanos", std::int64_t{1000});
  price.Set("output_nanos", std::int64_t{2000});
  price.Set("currency", std::string("EUR"));
  org_ = org.id, team_ = team.id, project_ = project.id, key_ = key.id;
  for (directory::Row* row : {&org, &team, &project, &key, &price}) Add(std::move(*row));
  if (!policy_yaml.empty()) {
    directory::Row policy = directory::NewRow(Table::kPolicy);
    policy.Set("org", org_.ToString());
    policy.Set("name", std::string("house"));
    policy.Set("policy_version", std::int64_t{1});
    policy.Set("sha256", base::Blob{std::string(base::View(base::Sha256(policy_yaml)))});
    policy.Set("yaml", policy_yaml);
    policy.Set("created_us", std::int64_t{0});
    directory::Row binding = directory::NewRow(Table::kPolicyBinding);
    binding.Set("org", org_.ToString());
    binding.Set("name", std::string("house"));
    binding.Set("policy_version", std::int64_t{1});
    binding.Set("mode", std::string("enforce"));
    Add(std::move(policy));
    Add(std::move(binding));
  }
  quotas_ = std::make_unique<metering::Quotas>(clock, leases);
  identity_ = std::make_unique<identity::Identity>(kPepper, false);
  inference::PoolOptions pool;
  pool.models.push_back({.name = "script", .engine = inference::EngineKind::kScripted, .context_tokens = 4096});
  auto made = inference::Pool::Create(std::move(pool));
  REQUIRE(made.ok());
  pool_ = *std::move(made);
  Publish();
}

directory::Row World::First(Table table) const {
  return *std::find_if(rows_.begin(), rows_.end(), [&](const directory::Row& row) { return row.table == table; });
}

std::int64_t World::StorePolicy(const std::string& policy_yaml) {
  directory::Row policy = First(Table::kPolicy);
  const auto version = 1 + std::count_if(rows_.begin(), rows_.end(), [](const directory::Row& row) { return row.table == Table::kPolicy; });
  policy.id = base::Uuid::NewV7();
  policy.Set("policy_version", std::int64_t{version});
  policy.Set("yaml", policy_yaml);
  Add(std::move(policy));
  return version;
}

void World::SetPolicy(const std::string& policy_yaml) {
  directory::Row binding = First(Table::kPolicyBinding);
  binding.Set("policy_version", StorePolicy(policy_yaml));
  Add(std::move(binding));
  Publish();
}

void World::Try(const std::string& policy_yaml, const std::string& mode, std::int64_t share_per_10000) {
  directory::Row binding = First(Table::kPolicyBinding);
  binding.Set("candidate_version", StorePolicy(policy_yaml));
  binding.Set("candidate_mode", mode);
  if (share_per_10000 > 0) {
    binding.Set("canary_share", share_per_10000);
    binding.Set("canary_by", std::string("request"));
  }
  Add(std::move(binding));
  Publish();
}

World::~World() {
  pipeline_.reset();
  work_.reset();
  io_.stop();
  if (thread_.joinable()) thread_.join();
  cpu_.join();
  pool_.reset();  // Before io_: its thread may still be telling a request that its stream has ended.
}

void World::Add(directory::Row row) {
  std::erase_if(rows_, [&](const directory::Row& old) { return old.table == row.table && old.id == row.id; });
  row.version = row.table == Table::kPrice ? 0 : version_ + 1;
  row.mac = directory::RowMac(kMacKey, row);
  rows_.push_back(std::move(row));
}

void World::Publish() {
  ++version_;
  directory::SnapshotBuilder builder(kMacKey);
  directory::Head head{.version = version_};
  for (const directory::Row& row : rows_) directory::Toggle(head.set, row.mac);
  head.mac = directory::HeadMac(kMacKey, head.version, head.set);
  const absl::Status applied = builder.Apply(rows_, head);
  INFO(base::Message(applied));
  REQUIRE(applied.ok());
  auto snapshot = builder.Build(clock.Mono());
  REQUIRE(snapshot.ok());
  quotas_->SetRules((*snapshot)->Quotas());
  for (int i = 0; i < 3; ++i) quotas_->Tick();
  directory.Set(*snapshot);
}

void World::SetQuota(const std::string& meter, const std::string& window, std::int64_t amount) {
  directory::Row quota = directory::NewRow(Table::kQuota);
  quota.Set("org", org_.ToString());
  quota.Set("scope_kind", std::string("team"));
  quota.Set("scope_id", team_.ToString());
  quota.Set("meter", meter);
  quota.Set("period", window);
  quota.Set("amount", amount);
  quota.Set("removed", Bool(false));
  Add(std::move(quota));
  Publish();
}

void World::SetDefaults(const std::string& scope_kind, const v1::ChatDefaults& settings) {
  const auto same = [&](const directory::Row& old) { return old.table == Table::kChatDefaults && old.Text("scope_kind") == scope_kind; };
  const auto old = std::find_if(rows_.begin(), rows_.end(), same);
  directory::Row row = old == rows_.end() ? directory::NewRow(Table::kChatDefaults) : *old;
  directory::ToRow(settings, row);
  row.Set("org", org_.ToString());
  row.Set("scope_kind", scope_kind);
  row.Set("scope_id", (scope_kind == "org" ? org_ : scope_kind == "team" ? team_ : scope_kind == "key" ? key_ : project_).ToString());
  row.Set("defaults_version", std::int64_t{1});
  row.Set("removed", Bool(false));
  Add(std::move(row));
  Publish();
}

void World::RevokeKey() {
  directory::Row key = First(Table::kKey);
  key.Set("revoked_us", base::ToMicros(clock.Wall()));
  Add(std::move(key));
  Publish();
}

void World::BlockTeam() {
  directory::Row team = First(Table::kTeam);
  team.Set("blocked", Bool(true));
  Add(std::move(team));
  Publish();
}

void World::StopModel() {
  directory::Row stop = directory::NewRow(Table::kStop);
  stop.Set("scope_kind", std::string("model"));
  stop.Set("model", std::string("script"));
  stop.Set("reason", std::string("it misbehaves"));
  stop.Set("since_us", base::ToMicros(clock.Wall()));
  stop.Set("lifted", Bool(false));
  Add(std::move(stop));
  Publish();
}

void World::GrantOnly(const std::string& model) {
  directory::Row grant = directory::NewRow(Table::kModelGrant);
  grant.Set("org", org_.ToString());
  grant.Set("scope_kind", std::string("team"));
  grant.Set("scope_id", team_.ToString());
  grant.Set("model", model);
  grant.Set("state", std::string("granted"));
  grant.Set("by_installation", std::string("t"));  // As an owner gives it.
  Add(std::move(grant));
  Publish();
}

void World::LoadModel(const std::string& name, int slots, int queue_max, bool priced, std::int64_t context_tokens) {
  const absl::Status loaded = pool_->Load({.name = name,
                                           .engine = inference::EngineKind::kScripted,
                                           .slots = slots,
                                           .context_tokens = context_tokens,
                                           .queue_sequences_max = queue_max});
  INFO(base::Message(loaded));
  REQUIRE(loaded.ok());
  if (priced) Price(name);
}

void World::LoadEmbedder(const std::string& name, inference::Pooling pooling, std::int64_t context_tokens) {
  const auto scripted = inference::EngineKind::kScripted;
  REQUIRE(pool_->Load({.name = name, .engine = scripted, .context_tokens = context_tokens, .pooling = pooling}).ok());
  Price(name);
}

void World::LoadStrict(const std::string& name) {
  REQUIRE(pool_->Load({.name = name, .engine = inference::EngineKind::kScripted, .context_tokens = 4096, .strict = true}).ok());
  Price(name);
}

void World::SetRoles(const std::string& roles) {
  directory::Row key = First(Table::kKey);
  key.Set("roles", roles);
  Add(std::move(key));
  Publish();
}

void World::Price(const std::string& name, std::int64_t input_nanos) {
  directory::Row price = First(Table::kPrice);
  price.id = base::Uuid::NewV7();
  price.Set("price_version", static_cast<std::int64_t>(rows_.size()) + 1);
  price.Set("model", name);
  price.Set("input_nanos", input_nanos);
  Add(std::move(price));
  Publish();
}

void World::LoadAdapter(const std::string& name, bool restricted, const std::string& matrices) {
  directory::Model adapter;
  adapter.engine = "lora";
  adapter.name = "script:" + name;
  adapter.base = "script";
  adapter.file = name;
  adapter.sha256 = base::Sha256(matrices + " of " + name);
  adapter.scale_millionths = 500'000;
  adapter.restricted = restricted;
  adapter.loaded = true;
  pool_->Unload(adapter.name, base::MonoTime()).IgnoreError();
  const std::string path = adapters_.File(name);
  REQUIRE(base::WriteFileAtomically(path, matrices + " of " + name, 0644).ok());
  const absl::Status loaded =
      pool_->LoadAdapter({.name = adapter.name, .base = adapter.base, .file = path, .sha256 = adapter.sha256, .scale = 0.5});
  INFO(base::Message(loaded));
  REQUIRE(loaded.ok());
  Register(adapter);
}

void World::Register(const directory::Model& model) {
  const auto same = [&](const directory::Row& row) { return row.table == Table::kModel && row.Text("name") == model.name; };
  const auto old = std::find_if(rows_.begin(), rows_.end(), same);
  directory::Row row = old == rows_.end() ? directory::NewRow(Table::kModel) : *old;
  directory::ToRow(model, row);
  Add(std::move(row));
  Publish();
}

void World::SetAlias(const std::string& name, const std::string& targets, const std::string& fallbacks) {
  const auto same = [&](const directory::Row& row) { return row.table == Table::kAlias && row.Text("name") == name; };
  const auto old = std::find_if(rows_.begin(), rows_.end(), same);
  directory::Row alias = old == rows_.end() ? directory::NewRow(Table::kAlias) : *old;
  alias.Set("name", name);
  alias.Set("targets", targets);
  alias.Set("fallbacks", fallbacks);
  alias.Set("removed", Bool(false));
  Add(std::move(alias));
  Publish();
}

bool World::Full(const std::string& model) const {
  const auto stats = pool_->stats();
  return std::any_of(stats.begin(), stats.end(), [&](const auto& s) { return s.model == model && s.full; });
}

pipeline::Caller World::NewCaller() const {
  pipeline::Caller caller;
  caller.bearer = key_text;
  caller.source = "192.0.2.7";
  caller.request_id = base::RequestId::New();
  caller.received = std::chrono::steady_clock::now();
  return caller;
}

v1::ChatRequest World::Ask(const std::string& user_text, const std::string& model) const {
  v1::ChatRequest request;
  request.set_model(model);
  v1::ChatMessage* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_parts(user_text);
  return request;
}

pipeline::Pipeline& World::pipe() {
  if (!pipeline_) {
    pipeline::Collaborators with{.clock = &clock,
                                 .directory = &directory,
                                 .identity = identity_.get(),
                                 .quotas = quotas_.get(),
                                 .journal = &journal,
                                 .keys = keys_.get(),
                                 .pool = pool_between != nullptr ? pool_between : pool_.get(),
                                 .answerers = answerers,
                                 .io = io_.get_executor(),
                                 .cpu = cpu ? cpu : cpu_.get_executor(),
                                 .options = options,
                                 .gates = &gates,
                                 .breakers = breakers,
                                 .configured_models = configured_models};
    pipeline_ = std::make_unique<pipeline::Pipeline>(std::move(with));
    thread_ = std::thread([this] { io_.run(); });
  }
  return *pipeline_;
}

v1::SealedContent World::Content(const audit::Entry& entry) const {
  auto request = base::Uuid::FromBytes(entry.record.request_id());
  REQUIRE(request.ok());
  auto key = keys_->Find(base::TeamId(team_), base::RequestId(*request));
  REQUIRE(key.ok());
  auto content = audit::OpenSealed(**key, entry.record, entry.content->stored);
  INFO(base::Message(content.status()));
  REQUIRE(content.ok());
  return *content;
}

std::string World::Kinds() const {
  std::string out;
  for (const audit::Entry& entry : journal.entries()) {
    if (!out.empty()) out += ' ';
    out += v1::RecordKind_Name(entry.record.kind()).substr(std::string("RECORD_KIND_").size());
  }
  return out;
}

void World::CheckBooks() const {
  CHECK(journal.open_requests() == 0);
  for (const audit::Entry& entry : journal.entries()) {
    if (!entry.record.has_end()) continue;
    const v1::TokenCounts& tokens = entry.record.end().tokens();
    const bool used = tokens.input() + tokens.output() > 0;
    std::size_t rows = used ? 2 : 1;  // Usage, and a transfer where something was used.
    for (const v1::GuardUsage& guard : entry.record.end().guard_usage()) {
      rows += guard.tokens().input() > 0 ? 2 : 1;
      CHECK(guard.amount_nanos() == guard.tokens().input() + 2 * guard.tokens().output());
    }
    CHECK(entry.companions.size() == rows);
    CHECK(entry.record.end().amount_nanos() == tokens.input() + 2 * tokens.output());
  }
}

const pipeline::Reply& ReplyOf(const pipeline::Outcome<pipeline::Reply>& outcome) {
  if (const auto* failure = std::get_if<pipeline::Failure>(&outcome)) FAIL(base::Message(failure->status));
  return std::get<pipeline::Reply>(outcome);
}

std::string ReasonOf(const pipeline::Outcome<pipeline::Reply>& outcome) {
  const auto* failure = std::get_if<pipeline::Failure>(&outcome);
  return failure == nullptr ? "answered" : ReasonOf(failure->status);
}

}  // namespace tollgate::test
