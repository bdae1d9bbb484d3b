// policy bundle, sign, verify, apply, signers: a policy as one text that says whose it is. All but apply and signers need no server: a
// private key never leaves the machine that signs.
//
// Tested by tests/gateway/cli/policy_bundle_test.cpp.
#include <map>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "base/ed25519.h"
#include "base/http_client.h"
#include "gateway/cli/policy_text.h"
#include "gateway/cli/remote.h"
#include "policy/bundle.h"
#include "policy/policy_set.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Policy;

constexpr std::size_t kBundleBytesMax = 4 << 20;
constexpr std::chrono::seconds kFetchPatience{30};

struct PolicyBundleOptions {
  std::string file, name, out, key, signer, require;
  std::int64_t version = 0;
  bool store_only = false;
  std::vector<std::string> trust, add, remove;
};

// Whether the server may answer otherwise to the same a moment later.
bool MayChange(int http_status) { return http_status >= 500 || http_status == 408 || http_status == 429; }

// A whole answer of a server, to a bound.
class Body final : public base::HttpSink {
 public:
  bool OnBody(int, std::string_view bytes) override {
    text += bytes;
    return text.size() <= kBundleBytesMax;
  }
  void OnEnd(int http_status, const absl::Status& its) override {
    ended = true;
    status = text.size() > kBundleBytesMax ? base::InvalidArgument("more than 4 MiB came, which is no bundle; is this its URL?")
             : !its.ok()                   ? its
             : http_status == 200          ? absl::OkStatus()
             : MayChange(http_status)      ? base::Unavailable(fmt::format("the server answered {}", http_status))
                                           : base::FailedPrecondition(fmt::format("the server answered {}", http_status));
  }
  std::string text;
  bool ended = false;
  absl::Status status;
};

absl::StatusOr<std::string> Fetch(const std::string& url) {
  TG_ASSIGN(const auto client, base::HttpClient::Create({}));
  Body body;
  client->Start({.url = url, .timeout = kFetchPatience}, body);
  while (!body.ended) client->Run(std::chrono::milliseconds(100));
  if (!body.status.ok()) return base::Annotate(body.status, url);
  return std::move(body.text);
}

bool IsUrl(const std::string& where) { return where.starts_with("https://") || where.starts_with("http://"); }

// Of a file, of standard input, or of a server, which is not the command line's fault where it is away or says no.
std::optional<std::string> ReadBundleText(Context& context, const std::string& where) {
  if (!IsUrl(where)) return ReadText(context, where);
  auto text = Fetch(where);
  if (text.ok() || absl::IsInvalidArgument(text.status())) return context.Take(std::move(text));
  context.Fail(absl::IsFailedPrecondition(text.status()) ? kRefused : kUnavailable, base::Message(text.status()));
  return std::nullopt;
}

// To the file, or to the terminal.
void Give(Context& context, const PolicyBundleOptions& options, const std::string& text, const std::string& what) {
  if (options.out.empty()) return context.Print(text);
  const absl::Status written = base::WriteFileAtomically(options.out, text, 0644);
  if (!written.ok()) return context.Fail(kUsage, base::Message(written));
  context.Print(what);
}

void MakeBundle(Context& context, const PolicyBundleOptions& options) {
  const auto text = ReadPolicyText(context, options.file);
  if (!text) return;
  const std::string name = options.name.empty() ? StemOf(options.file) : options.name;
  const policy::PolicySource source{name, *text};
  if (!TakePolicy(context, policy::PolicySet::Compile({&source, 1}), name, options.file)) return;
  if (const auto bundle = context.Take(policy::NumberBundle(*text, name, options.version)))
    Give(context, options, *bundle, fmt::format("bundle {} {} is in {}\n", name, options.version, options.out));
}

void Sign(Context& context, PolicyBundleOptions options) {
  const auto text = ReadText(context, options.file);
  if (!text) return;
  const auto bundle = context.Take(policy::ReadBundle(StemOf(options.file), *text));
  const auto pem = context.Take(base::ReadFile(options.key));
  if (!bundle || !pem) return;
  const auto signature = context.Take(base::Ed25519Sign(*pem, bundle->signed_bytes));
  if (!signature) return;
  const auto signed_text = context.Take(policy::AddSignature(*text, options.signer, *signature));
  if (!signed_text) return;
  if (options.out.empty() && options.file != "-") options.out = options.file;
  Give(context, options, *signed_text, fmt::format("{} has signed {} {}\n", options.signer, bundle->name, bundle->version));
}

// NAME=FILE, read.
std::optional<std::map<std::string, std::string>> ReadKeys(Context& context, const std::vector<std::string>& given) {
  std::map<std::string, std::string> out;
  for (const std::string& one : given) {
    const std::size_t equals = one.find('=');
    if (equals == 0 || equals == std::string::npos) {
      context.Fail(kUsage, fmt::format("'{}' is not NAME=PUBLIC.pem", one));
      return std::nullopt;
    }
    const auto pem = context.Take(base::ReadFile(one.substr(equals + 1)));
    if (!pem) return std::nullopt;
    out[one.substr(0, equals)] = *pem;
  }
  return out;
}

void Verify(Context& context, const PolicyBundleOptions& options) {
  const auto text = ReadBundleText(context, options.file);
  const auto pems = ReadKeys(context, options.trust);
  if (!text || !pems) return;
  policy::Signers trusted;
  for (const auto& [name, pem] : *pems) {
    const auto key = context.Take(base::Ed25519PublicKey(pem));
    if (!key) return;
    trusted[name] = *key;
  }
  const auto bundle = context.Take(policy::ReadBundle(StemOf(options.file), *text));
  if (!bundle) return;
  const policy::PolicySource source{bundle->name, *text};
  const auto signer = policy::SignerOf(*bundle, trusted);
  if (!signer.ok()) return context.Fail(kRefused, base::Message(signer.status()));
  if (!TakePolicy(context, policy::PolicySet::Compile({&source, 1}), source.name, options.file)) return;
  context.Print(fmt::format("bundle {} {}: signed by {}; compiles, and its tests pass\n", bundle->name, bundle->version, *signer));
}

void Apply(Context& context, const PolicyBundleOptions& options) {
  const auto text = ReadBundleText(context, options.file);
  if (!text) return;
  const auto bundle = context.Take(policy::ReadBundle("bundle", *text));
  if (!bundle) return;
  if (bundle->name.empty())
    return context.Fail(kUsage, "this is a policy and no bundle: tollgate policy put, or tollgate policy bundle FILE --bundle-version N");
  v1::PutPolicyRequest request;
  request.set_org(OrgOf(context.globals));
  request.set_name(bundle->name);
  request.set_yaml(*text);
  request.set_store_only(options.store_only);
  const auto stored = Ask<Policy>(context, Listener::kAdmin, &Policy::Stub::Put, request);
  if (!stored) return;
  if (context.globals.json) return context.PrintJson(*stored);
  context.Print(fmt::format("bundle {} {} of {}: version {} stored, {} (record {})\n", bundle->name, bundle->version, stored->org(),
                            stored->version(), options.store_only ? "not in force" : "in force", stored->record()));
  for (const std::string& warning : stored->warnings()) context.Print(fmt::format("warning: {}\n", warning));
}

void Trust(Context& context, const PolicyBundleOptions& options) {
  const auto add = ReadKeys(context, options.add);
  if (!add) return;
  v1::SetPolicySignersRequest request;
  request.set_org(OrgOf(context.globals));
  for (const auto& [name, pem] : *add) {
    if (!context.Take(base::Ed25519PublicKey(pem))) return;
    if (pem.find("PRIVATE") != std::string::npos)
      return context.Fail(kUsage, fmt::format("the key of {} is a private one: give its public half (openssl pkey -pubout)", name));
    v1::PolicySigner& signer = *request.add_add();
    signer.set_name(name);
    signer.set_public_key(pem);
  }
  for (const std::string& name : options.remove) request.add_remove(name);
  if (!options.require.empty()) request.set_required(options.require == "on");
  const auto reply = Ask<Policy>(context, Listener::kAdmin, &Policy::Stub::SetSigners, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  context.Print(fmt::format("org {}: trusts {}; {}\n", reply->org(),
                            reply->names().empty() ? "nobody's signatures" : fmt::format("{}", fmt::join(reply->names(), ", ")),
                            reply->required() ? "only policies that one of them signed may act" : "policies need not be signed"));
}

}  // namespace

std::optional<std::string> ReadPolicyText(Context& context, const std::string& file) {
  auto text = ReadText(context, file);
  if (!text) return std::nullopt;
  const auto bundle = policy::ReadBundle(StemOf(file), *text);
  auto named = policy::FilesNamedIn(StemOf(file), *text);
  if (!bundle.ok() || !bundle->files.empty() || !bundle->name.empty() || !named.ok()) return text;  // The compiler tells what is wrong.
  const std::size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : file.substr(0, slash + 1);
  std::vector<policy::Bundle::File> files;
  for (std::size_t i = 0; i < named->size() && i <= policy::Bundle::kFilesMax; ++i) {
    const std::string path = (*named)[i];
    auto its = policy::IsBundlePath(path) ? base::ReadFile(folder + path) : absl::StatusOr<std::string>(base::NotFound(path));
    if (!its.ok()) continue;
    if (!base::IsValidUtf8(*its)) {
      context.Fail(kUsage, fmt::format("{} is not UTF-8 text", folder + path));
      return std::nullopt;
    }
    if (path.ends_with(".yaml") || path.ends_with(".yml")) {
      for (const std::string& more : policy::FilesNamedIn(path, *its).value_or(std::vector<std::string>())) {
        if (std::find(named->begin(), named->end(), more) == named->end()) named->push_back(more);
      }
    }
    files.push_back({path, *std::move(its)});
  }
  return context.Take(policy::WriteBundle(*text, files));
}

void AddPolicyBundleCommands(CLI::App& group, Context& context) {
  auto* bundle = group.add_subcommand("bundle", "Make one text of a policy and what it includes, numbered, to be signed");
  const auto b = std::make_shared<PolicyBundleOptions>();
  bundle->add_option("FILE", b->file, "YAML file, or - for standard input")->required();
  bundle->add_option("--bundle-version", b->version, "Its number: greater than that of every bundle of this policy before it")
      ->required()
      ->check(CLI::PositiveNumber);
  bundle->add_option("--name", b->name, "The policy's name; else the file's, without what follows the first dot");
  bundle->add_option("--out", b->out, "The file to write; else it is printed");
  bundle->callback([&context, b] { MakeBundle(context, *b); });
  Teach(*bundle, "It must compile, and its tests must pass. Needs no server.",
        {"tollgate policy bundle acme.yaml --bundle-version 7 --out acme.bundle"});

  auto* sign = group.add_subcommand("sign", "Sign a bundle with an Ed25519 key");
  const auto s = std::make_shared<PolicyBundleOptions>();
  sign->add_option("FILE", s->file, "The bundle, or - for standard input")->required();
  sign->add_option("--key", s->key, "The private key, PEM")->required();
  sign->add_option("--signer", s->signer, "What the org calls the key")->required();
  sign->add_option("--out", s->out, "The file to write; else the bundle itself");
  sign->callback([&context, s] { Sign(context, *s); });
  Teach(*sign, "Several may sign one after the other; what is signed is the same. Needs no server.",
        {"openssl genpkey -algorithm ed25519 -out security.pem", "tollgate policy sign acme.bundle --key security.pem --signer security"});

  auto* verify = group.add_subcommand("verify", "Tell whether a bundle is signed by somebody, and good");
  const auto v = std::make_shared<PolicyBundleOptions>();
  verify->add_option("FILE", v->file, "The bundle's file, - for standard input, or an http or https URL")->required();
  verify->add_option("--trust", v->trust, "A signer and their public key, NAME=PUBLIC.pem; may be given more than once")->required();
  verify->callback([&context, v] { Verify(context, *v); });
  Teach(*verify, "Needs no server of ours.",
        {"tollgate policy verify acme.bundle --trust security=security-public.pem",
         "tollgate policy verify https://policies.acme.example/acme.bundle --trust security=security-public.pem"});

  auto* apply = group.add_subcommand("apply", "Store a bundle and put it in force");
  const auto a = std::make_shared<PolicyBundleOptions>();
  apply->add_option("--bundle", a->file, "The bundle's file, - for standard input, or an http or https URL")->required();
  apply->add_flag("--store-only", a->store_only, "Store it, and leave in force what is");
  apply->callback([&context, a] { Apply(context, *a); });
  Teach(*apply,
        "The record says whose signature was good. A bundle whose number is not greater than that of one that is stored is refused.",
        {"tollgate policy apply --bundle acme.bundle", "tollgate policy apply --bundle https://policies.acme.example/acme.bundle"});

  auto* signers = group.add_subcommand("signers", "Whose signatures on policies the org trusts, and whether it demands them");
  const auto t = std::make_shared<PolicyBundleOptions>();
  signers->add_option("--add", t->add, "Trust NAME=PUBLIC.pem; may be given more than once");
  signers->add_option("--remove", t->remove, "Trust NAME no more; may be given more than once");
  signers->add_option("--require", t->require, "on: only signed policies may act; off: all may")->check(CLI::IsMember({"on", "off"}));
  signers->callback([&context, t] { Trust(context, *t); });
  Teach(*signers,
        "Without options it tells how that stands. What is in force stays in force; from then on nothing unsigned is put in force, "
        "canaried or\n"
        "rolled back to. Takes the role owner.",
        {"openssl pkey -in security.pem -pubout -out security-public.pem",
         "tollgate policy signers --add security=security-public.pem --require on --org acme"});
}

}  // namespace tollgate::cli
