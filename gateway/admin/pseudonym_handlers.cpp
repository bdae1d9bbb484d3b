// What pseudonyms stand for lies in the keys database, not in the log: it is opened, or forgotten, after the record that says by whom and
// why. A key of the team opens it, so one is asked for as for a request of its own; it is stored nowhere.
// Tested by tests/gateway/admin/services_reading_test.cpp.
#include <algorithm>
#include <future>

#include <fmt/format.h>

#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/text.h"
#include "policy/pseudonyms.h"

namespace tollgate::admin {

using directory::Shard;

namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::size_t kPseudonymBytesMax = 64, kEndUserBytesMax = 256;

struct Tenant {
  const Shard* shard = nullptr;
  base::TeamId team;
};

absl::StatusOr<Tenant> TenantOf(const Caller& caller, const std::string& org, const std::string& team) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(org));
  TG_ASSIGN(const directory::Team* found, TeamOf(*shard, team));
  return Tenant{shard, found->id};
}

absl::StatusOr<std::shared_ptr<const audit::RequestKey>> KeyOf(const Caller& caller, base::TeamId team) {
  using Key = absl::StatusOr<std::shared_ptr<const audit::RequestKey>>;
  const auto made = std::make_shared<std::promise<Key>>();
  caller.context().with.keys->NewRequestKey(team, base::RequestId::New(), std::chrono::steady_clock::now() + kPatience,
                                            [made](Key key) { made->set_value(std::move(key)); });
  return made->get_future().get();
}

absl::Status Append(const Caller& caller, audit::Entry entry) {
  return audit::AppendAndWait(*caller.context().with.journal, std::move(entry), std::chrono::steady_clock::now() + kPatience).status();
}

}  // namespace

absl::Status ShowPseudonym(const Caller& caller, const v1::ShowPseudonymRequest& request, v1::ShowPseudonymReply& reply) {
  TG_ASSIGN(const Tenant tenant, TenantOf(caller, request.org(), request.team()));
  TG_RETURN_IF_ERROR(CheckText("pseudonym", request.pseudonym(), kPseudonymBytesMax));
  TG_RETURN_IF_ERROR(NeedReason(request.reason(), "the value is read"));
  audit::Keys& keys = *caller.context().with.keys;
  TG_ASSIGN(const std::vector<std::string> sealed, keys.FindValues(tenant.team, request.pseudonym()));
  audit::Entry view = caller.NewEntry(v1::RECORD_KIND_VIEW, tenant.shard->org.id, tenant.team);
  view.record.mutable_view()->set_actor(caller.actor().name);
  view.record.mutable_view()->set_reason(request.reason());
  view.record.mutable_view()->set_pseudonym(request.pseudonym());
  TG_RETURN_IF_ERROR(Append(caller, std::move(view)));
  TG_ASSIGN(const auto key, KeyOf(caller, tenant.team));
  TG_ASSIGN(*reply.mutable_value(), key->OpenValue(request.pseudonym(), sealed[0]));
  for (std::size_t i = 1; i < sealed.size(); ++i) {
    TG_ASSIGN(*reply.add_others(), key->OpenValue(request.pseudonym(), sealed[i]));
  }
  return absl::OkStatus();
}

absl::Status ErasePseudonyms(const Caller& caller, const v1::ErasePseudonymsRequest& request, v1::ErasePseudonymsReply& reply) {
  using Which = v1::ErasePseudonymsRequest;
  TG_ASSIGN(const Tenant tenant, TenantOf(caller, request.org(), request.team()));
  TG_RETURN_IF_ERROR(NeedReason(request.reason(), "it is forgotten"));
  const std::string& given = request.which_case() == Which::kEndUser     ? request.end_user()
                             : request.which_case() == Which::kPseudonym ? request.pseudonym()
                                                                         : request.value();
  if (given.empty()) return base::InvalidArgument("name an end_user, a pseudonym or a value");
  if (given.size() > (request.which_case() == Which::kValue ? policy::Pseudonyms::kValueBytesMax : kEndUserBytesMax))
    return base::InvalidArgument("what is to be forgotten is longer than anything that is kept");
  gates::Gates* gates = caller.context().with.gates;
  if (request.which_case() == Which::kEndUser && gates == nullptr)
    return base::FailedPrecondition("this instance does not know what end users accepted; ask one that serves requests");
  TG_ASSIGN(const auto key, KeyOf(caller, tenant.team));
  audit::Entry erase = caller.NewEntry(v1::RECORD_KIND_ERASE, tenant.shard->org.id, tenant.team);
  v1::EraseBody& body = *erase.record.mutable_erase();
  body.set_actor(caller.actor().name);
  body.set_reason(request.reason());
  using ValuesOf = audit::Keys::ValuesOf;
  ValuesOf by = ValuesOf::kPseudonym;
  std::string which = given;
  if (request.which_case() == Which::kEndUser) {
    by = ValuesOf::kSubject;
    const base::Digest subject = key->EndUserHmac(given);
    which = std::string(base::View(subject));
  } else if (request.which_case() == Which::kValue) {
    by = ValuesOf::kMark;
    which = key->ValueMark(given);
  }
  body.set_pseudonyms_of(by == ValuesOf::kSubject ? "end_user" : by == ValuesOf::kMark ? "value" : "pseudonym");
  TG_RETURN_IF_ERROR(Append(caller, std::move(erase)));
  TG_ASSIGN(const audit::Keys::Erased erased, caller.context().with.keys->EraseValues(tenant.team, by, which));
  reply.set_erased(erased.rows);
  reply.set_still_told(erased.others);
  if (by != ValuesOf::kSubject) return absl::OkStatus();
  TG_ASSIGN(const std::int64_t forgotten, gates->Forget(tenant.team, which));
  reply.set_acceptances(forgotten);
  return absl::OkStatus();
}

}  // namespace tollgate::admin
