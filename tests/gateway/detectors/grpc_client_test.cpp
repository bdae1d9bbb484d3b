// Detectors that speak gRPC, served in this process: asked with what the format says, and a failure for whatever goes wrong.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>

#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "base/encoding.h"
#include "gateway/detectors/external_detectors.h"
#include "tests/support/temp_dir.h"
#include "tollgate/v1/detector.grpc.pb.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using detectors::DetectorOptions;
using detectors::ExternalDetectors;
using pipeline::QuestionAnswer;

namespace {

class Served final : public v1::Detector::Service {
 public:
  using Answer = std::function<grpc::Status(grpc::ServerContext&, const v1::JudgeRequest&, v1::JudgeReply&)>;
  explicit Served(Answer answer, std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials())
      : answer_(std::move(answer)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  grpc::Status Judge(grpc::ServerContext* context, const v1::JudgeRequest* request, v1::JudgeReply* reply) override {
    return answer_(*context, *request, *reply);
  }
  std::string at(const std::string& scheme = "grpc") const { return fmt::format("{}://127.0.0.1:{}", scheme, port_); }

 private:
  const Answer answer_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

std::unique_ptr<ExternalDetectors> Make(const std::string& url, const std::function<void(DetectorOptions&)>& set = {}) {
  DetectorOptions options;
  options.name = "toxicity";
  options.url = url;
  options.deadline = std::chrono::minutes(2);
  if (set) set(options);
  auto made = ExternalDetectors::Create({options});
  REQUIRE(made.ok());
  return *std::move(made);
}

std::future<QuestionAnswer> Ask(ExternalDetectors& detectors, const std::string& text,
                                std::chrono::milliseconds within = std::chrono::hours(1), const std::string& tenant = "") {
  pipeline::QuestionAsk ask;
  ask.question = {"r", "rule", "toxicity", {0}};
  ask.messages = std::make_shared<const std::vector<policy::Message>>(
      std::vector<policy::Message>{{policy::Role::kTool, "mail", {text.substr(0, 2), text.substr(2)}}});
  ask.model = "tiny";
  ask.tenant = tenant;
  ask.output = true;
  ask.last = false;
  ask.deadline = std::chrono::steady_clock::now() + within;
  auto promise = std::make_shared<std::promise<QuestionAnswer>>();
  auto future = promise->get_future();
  detectors.Ask(std::move(ask), [promise](QuestionAnswer answer) { promise->set_value(std::move(answer)); });
  return future;
}

// A key and a certificate for 127.0.0.1 that is its own authority.
std::string MakeCertificate(const test::TempDir& folder, const std::string& name) {
  const std::string command = fmt::format(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={0} -addext subjectAltName=IP:127.0.0.1 "
      "-keyout {1} -out {2} 2>/dev/null",
      name, folder.File(name + ".key"), folder.File(name + ".pem"));
  REQUIRE(std::system(command.c_str()) == 0);
  return folder.File(name + ".pem");
}

}  // namespace

TEST_CASE("A gRPC detector is asked with all that the format says, and answers") {
  v1::JudgeRequest asked;
  std::string secret;
  Served server([&](grpc::ServerContext& context, const v1::JudgeRequest& request, v1::JudgeReply& reply) {
    asked = request;
    const auto found = context.client_metadata().find("authorization");
    if (found != context.client_metadata().end()) secret.assign(found->second.data(), found->second.size());
    reply.set_hit(true);
    reply.set_score(0.25);
    reply.set_category("insult");
    v1::JudgedSpan& span = *reply.add_spans();
    span.set_begin(1);
    span.set_end(4);
    return grpc::Status::OK;
  });
  const auto detectors = Make(server.at(), [](DetectorOptions& o) { o.bearer = "s3cret"; });
  const QuestionAnswer answer = Ask(*detectors, "evil words").get();
  CHECK(answer.answer.failure.empty());
  CHECK(answer.answer.id == "r");
  CHECK(answer.answer.hit);
  CHECK(answer.answer.score_millionths == 250'000);
  CHECK(answer.category == "insult");
  REQUIRE(answer.answer.spans.size() == 1);
  CHECK(answer.answer.spans[0].end == 4);
  CHECK(secret == "Bearer s3cret");
  CHECK(asked.version() == 1);
  CHECK(asked.detector() == "toxicity");
  CHECK(asked.rule() == "rule");
  CHECK(asked.direction() == "output");
  CHECK_FALSE(asked.last());
  CHECK(asked.model() == "tiny");
  REQUIRE(asked.messages_size() == 1);
  CHECK(asked.messages(0).role() == "tool");
  CHECK(asked.messages(0).name() == "mail");
  CHECK(asked.messages(0).text() == "evil words");
  CHECK(detectors->stats()[0].hits == 1);
}

TEST_CASE("Whatever a gRPC detector does wrong is an answer that says so, without its words") {
  const std::pair<Served::Answer, const char*> cases[] = {
      {[](auto&, auto&, auto&) { return grpc::Status(grpc::StatusCode::INTERNAL, "secret"); }, "answered with status 500"},
      {[](auto&, auto&, v1::JudgeReply& reply) {
         reply.set_score(2);
         return grpc::Status::OK;
       },
       "'score' is a number from 0 to 1"},
      {[](auto&, auto&, v1::JudgeReply& reply) {
         reply.set_category("<secret>");
         return grpc::Status::OK;
       },
       "'category' is a short name"},
      {[](auto&, auto&, v1::JudgeReply& reply) {
         reply.add_spans()->set_end(99);
         return grpc::Status::OK;
       },
       "outside of its message"},
      {[](auto&, auto&, v1::JudgeReply& reply) {
         reply.set_category(std::string(100'000, 'x'));
         return grpc::Status::OK;
       },
       "answered with status 429"}};
  for (const auto& [wrong, failure] : cases) {
    Served server(wrong);
    const QuestionAnswer answer = Ask(*Make(server.at()), "words").get();
    CHECK_THAT(answer.answer.failure, ContainsSubstring(failure) && !ContainsSubstring("secret"));
    CHECK_FALSE(answer.answer.hit);
  }
}

TEST_CASE("A gRPC detector that cannot be reached is so for all; a call that it refuses is its tenant's alone") {
  const auto once = [](DetectorOptions& o) {
    o.failures_max = 1;
    o.rest = std::chrono::hours(1);
  };
  const auto hour = std::chrono::hours(1);
  const auto nobody = Make("grpc://127.0.0.1:1", once);
  CHECK_THAT(Ask(*nobody, "words", hour, "one").get().answer.failure, ContainsSubstring("cannot be reached"));
  CHECK_THAT(Ask(*nobody, "words", hour, "other").get().answer.failure, ContainsSubstring("left alone"));

  Served server([](auto&, const v1::JudgeRequest& request, auto&) {
    const bool odd = request.messages(0).text() == "odd";
    return odd ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "") : grpc::Status::OK;
  });
  const auto detectors = Make(server.at(), once);
  CHECK_THAT(Ask(*detectors, "odd", hour, "one").get().answer.failure, ContainsSubstring("cannot be reached"));
  CHECK_THAT(Ask(*detectors, "words", hour, "one").get().answer.failure, ContainsSubstring("left alone"));
  CHECK(Ask(*detectors, "words", hour, "other").get().answer.failure.empty());
}

TEST_CASE("A gRPC detector that hangs is given up at the deadline, and what waits behind it too") {
  std::promise<void> go;
  const auto gone = go.get_future().share();
  Served server([gone](auto&, auto&, auto&) {
    gone.wait();
    return grpc::Status::OK;
  });
  const auto detectors = Make(server.at(), [](DetectorOptions& o) {
    o.running_max = 1;
    o.waiting_max = 1;
  });
  auto first = Ask(*detectors, "one", std::chrono::milliseconds(400));
  while (detectors->stats()[0].running == 0) std::this_thread::yield();
  auto second = Ask(*detectors, "two", std::chrono::milliseconds(1));
  const QuestionAnswer third = Ask(*detectors, "three").get();
  CHECK_THAT(third.answer.failure, ContainsSubstring("too many questions waiting"));
  CHECK_THAT(first.get().answer.failure, ContainsSubstring("did not answer in time"));
  CHECK_THAT(second.get().answer.failure, ContainsSubstring("no turn free in time"));
  go.set_value();
}

TEST_CASE("A gRPC detector that keeps failing is left alone; what is out when the gateway ends is answered") {
  std::atomic<int> asked{0};
  Served server([&](auto&, auto&, auto&) {
    ++asked;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "");
  });
  const auto detectors = Make(server.at(), [](DetectorOptions& o) {
    o.failures_max = 3;
    o.rest = std::chrono::hours(1);
  });
  for (int i = 0; i < 3; ++i) CHECK_THAT(Ask(*detectors, "xx").get().answer.failure, ContainsSubstring("cannot be reached"));
  CHECK_THAT(Ask(*detectors, "xx").get().answer.failure, ContainsSubstring("left alone"));
  CHECK(asked == 3);
  CHECK(detectors->stats()[0].resting);

  std::promise<void> go;
  const auto gone = go.get_future().share();
  Served slow([gone](auto&, auto&, auto&) {
    gone.wait();
    return grpc::Status::OK;
  });
  auto ending = Make(slow.at());
  auto out = Ask(*ending, "xx");
  ending.reset();
  CHECK_FALSE(out.get().answer.failure.empty());
  go.set_value();
}

TEST_CASE("Over TLS a gRPC detector is known by its authority, and one that is not gets no question") {
  const test::TempDir folder;
  const std::string ours = MakeCertificate(folder, "ours"), other = MakeCertificate(folder, "other");
  grpc::SslServerCredentialsOptions ssl;
  ssl.pem_key_cert_pairs.push_back({*base::ReadFile(folder.File("ours.key")), *base::ReadFile(ours)});
  std::atomic<int> asked{0};
  Served server(
      [&](auto&, auto&, auto&) {
        ++asked;
        return grpc::Status::OK;
      },
      grpc::SslServerCredentials(ssl));
  CHECK(Ask(*Make(server.at("grpcs"), [&](DetectorOptions& o) { o.ca_file = ours; }), "words").get().answer.failure.empty());
  CHECK_FALSE(Ask(*Make(server.at("grpcs"), [&](DetectorOptions& o) { o.ca_file = other; }), "words").get().answer.failure.empty());
  CHECK_FALSE(Ask(*Make(server.at("grpc")), "words", std::chrono::seconds(5)).get().answer.failure.empty());
  CHECK(asked == 1);
  DetectorOptions missing;
  missing.name = "d";
  missing.url = server.at("grpcs");
  missing.ca_file = folder.File("none.pem");
  CHECK_THAT(base::Message(ExternalDetectors::Create({missing}).status()), ContainsSubstring("none.pem cannot be read"));
}
