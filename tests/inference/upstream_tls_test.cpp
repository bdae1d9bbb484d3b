// The upstream engine and servers that know their clients by certificate: the right one is let in; for every wrong one on either side the
// request is refused, nothing of it goes out, and the refusal says what to check.
#include <catch2/catch_test_macros.hpp>

#include <fstream>

#include "base/error_detail.h"
#include "inference/engines/upstream_engine.h"
#include "tests/inference/support.h"
#include "tests/inference/upstream_support.h"
#include "tests/support/certificates.h"

namespace tollgate::inference {
namespace {

using namespace test;  // NOLINT
using std::chrono::milliseconds;
using tollgate::test::CertificateFiles;
using tollgate::test::TempDir;
using tollgate::test::TestAuthority;

struct Certificates {
  TempDir folder;
  TestAuthority ours{folder, "ours"};
  TestAuthority other{folder, "other"};
  CertificateFiles server = ours.Issue("server");
  CertificateFiles client = ours.Issue("client", "DNS:tollgate");
};

std::unique_ptr<ScriptedUpstream> Serve(const CertificateFiles& server, const std::string& client_ca, bool old = false) {
  return std::make_unique<ScriptedUpstream>([](Exchange& e) { WordModel{}.Answer(e); }, false,
                                            tollgate::test::TlsFiles{server.certificate, server.key, client_ca, old});
}

ModelOptions Over(const Certificates& files, const std::vector<std::string>& urls, const CertificateFiles& shown) {
  ModelOptions options = Upstream(urls);
  options.upstream.bearer = "open-sesame";
  options.upstream.ca_file = files.ours.file();
  options.upstream.certificate_file = shown.certificate;
  options.upstream.key_file = shown.key;
  options.upstream.health_interval = milliseconds(0);
  return options;
}

void LeaksNothing(const absl::Status& status, const Certificates& files) {
  const std::string message = base::Message(status);
  for (const std::string& secret : {std::string("open-sesame"), files.folder.path(), std::string("127.0.0.1"), std::string("hello")})
    CHECK(message.find(secret) == std::string::npos);
}

TEST_CASE("A server that knows us by our certificate answers, over one connection, in TLS 1.3 and 1.2") {
  const Certificates files;
  for (const bool old : {false, true}) {
    const auto server = Serve(files.server, files.ours.file(), old);
    ModelOptions options = Over(files, {server->url()}, files.client);
    options.upstream.health_interval = milliseconds(20);  // The question after its health goes the same way.
    const auto replica = StartUpstream(options);
    for (int i = 0; i < 3; ++i) {
      const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
      INFO(heard.end.status.ToString());
      CHECK(heard.end.reason == EndReason::kStop);
      CHECK(heard.text == Said(0, 10));
    }
    CHECK(server->requests().size() == 3);
    CHECK(server->requests()[2].connection <= 2);
    CHECK(server->requests()[0].headers.at("authorization") == "Bearer open-sesame");
    CHECK(replica->stats().upstream.usable == 1);
  }
}

TEST_CASE("Where a certificate is missing or wrong on either side nothing is sent, nothing is billed, and the refusal names the remedy") {
  const Certificates files;
  const CertificateFiles stranger = files.other.Issue("stranger", "DNS:tollgate");
  const CertificateFiles late = files.ours.Issue("late", "DNS:tollgate", true);
  struct Row {
    const char* what;
    CertificateFiles server;
    CertificateFiles shown;
    const char* remedy;
  };
  const Row rows[] = {
      {"we show none", files.server, {}, "certificate_file"},
      {"we show another authority's", files.server, stranger, "certificate_file"},
      {"we show one that has run out", files.server, late, "certificate_file"},
      {"its authority is another", files.other.Issue("impostor"), files.client, "of no authority that is trusted here; check ca_file"},
      {"it has another address", files.ours.Issue("elsewhere", "IP:127.0.0.2"), files.client, "for another name than the URL's"},
      {"it has a name alone", files.ours.Issue("named", "DNS:gpu.example"), files.client, "for another name than the URL's"},
      {"its has run out", files.ours.Issue("old", "IP:127.0.0.1", true), files.client, "not valid at this time; renew it"}};
  for (const Row& row : rows) {
    for (const bool old : {false, true}) {
      INFO(row.what << (old ? ", TLS 1.2" : ""));
      const auto server = Serve(row.server, files.ours.file(), old);
      const auto replica = StartUpstream(Over(files, {server->url()}, row.shown));
      const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
      INFO(base::Message(heard.end.status));
      CHECK(heard.end.reason == EndReason::kEngineFailed);
      CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
      CHECK(base::Message(heard.end.status).find(row.remedy) != std::string::npos);
      CHECK(heard.end.input_tokens_evaluated == 0);
      CHECK(server->requests().empty());
      LeaksNothing(heard.end.status, files);
    }
  }
}

TEST_CASE("A server whose certificate is wrong is left for one whose is right, and what is wrong is said when none is left") {
  const Certificates files;
  const auto impostor = Serve(files.other.Issue("impostor"), files.ours.file());
  const auto server = Serve(files.server, files.ours.file());
  const auto both = StartUpstream(Over(files, {impostor->url(), server->url()}, files.client));
  for (int i = 0; i < 8; ++i) {
    const std::string prompt(static_cast<std::size_t>(i), 'x');
    CHECK(HearAll(*SubmitTo(*both, AskUpstream(*both, prompt))).text == Said(0, 10));
  }
  CHECK(impostor->requests().empty());
  CHECK(server->requests().size() == 8);

  ModelOptions options = Over(files, {impostor->url()}, files.client);
  options.upstream.health_interval = milliseconds(20);
  const auto replica = StartUpstream(options);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  while (replica->stats().upstream.endpoints == 0 || replica->stats().upstream.usable != 0) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    std::this_thread::yield();
  }
  const Heard heard = HearAll(*SubmitTo(*replica, AskUpstream(*replica)));
  const std::string message = base::Message(heard.end.status);
  CHECK(message.find("none of the 1 servers of model words can take the request") != std::string::npos);
  CHECK(message.find("check ca_file") != std::string::npos);
  const auto detail = base::DetailOf(heard.end.status);
  REQUIRE(detail);
  CHECK(detail->reason == "UPSTREAM_UNAVAILABLE");
  LeaksNothing(heard.end.status, files);
}

TEST_CASE("Files that are no certificate, no key or not of each other are refused before anybody is asked, by their paths") {
  const Certificates files;
  const std::string empty = files.folder.File("empty.pem");
  std::ofstream(empty) << "nothing\n";
  const std::string locked = files.folder.File("locked.key");
  std::ofstream(locked) << "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n";
  struct Row {
    std::string ca, certificate, key, says;
  };
  const Row rows[] = {
      {empty, files.client.certificate, files.client.key, "the file of trusted authorities " + empty + " holds no certificate"},
      {files.ours.file(), empty, files.client.key, "the certificate " + empty + " holds no certificate"},
      {files.ours.file(), files.client.certificate, empty, empty + " holds no private key"},
      {files.ours.file(), files.client.certificate, locked, "without a passphrase"},
      {files.ours.file(), files.client.certificate, files.server.key, "is not of the key " + files.server.key},
      {files.ours.file(), files.client.certificate, files.folder.File("none"), "cannot be read"}};
  for (const Row& row : rows) {
    ModelOptions options = Over(files, {"https://127.0.0.1:1"}, {row.certificate, row.key});
    options.upstream.ca_file = row.ca;
    const auto engine = MakeUpstreamEngine(options, WordTokenizer(), base::SystemClock());
    REQUIRE_FALSE(engine.ok());
    INFO(base::Message(engine.status()));
    CHECK(engine.status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK(base::Message(engine.status()).find(row.says) != std::string::npos);
    CHECK(base::Message(engine.status()).find("PRIVATE KEY") == std::string::npos);
  }
}

}  // namespace
}  // namespace tollgate::inference
