// Keys of model providers, vector stores and tracing services: what people paste into a chat most.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/secrets.h"

namespace tollgate::policy {
namespace {

constexpr SecretKind kRows[] = {
    {"openai_project_key", "openai_key", R"(\bsk-(?:proj|None)-[A-Za-z0-9_-]{20,200})", 3, AcceptMixedToken},
    {"openai_service_account_key", "openai_key", R"(\bsk-svcacct-[A-Za-z0-9_-]{20,200})", 3, AcceptMixedToken},
    {"openai_admin_key", "openai_key", R"(\bsk-admin-[A-Za-z0-9_-]{20,200})", 3, AcceptMixedToken},
    {"openai_legacy_key", "openai_key", R"(\bsk-[A-Za-z0-9]{20,64})", 3, AcceptMixedToken},
    {"anthropic_api_key", "anthropic_key", R"(\bsk-ant-api[0-9]{2}-[A-Za-z0-9_-]{20,200})", 3},
    {"anthropic_admin_key", "anthropic_key", R"(\bsk-ant-admin[0-9]{2}-[A-Za-z0-9_-]{20,200})", 3},
    {"anthropic_oauth_token", "anthropic_key", R"(\bsk-ant-(?:oat|ort|sid)[0-9]{2}-[A-Za-z0-9_-]{20,200})", 3},
    {"hugging_face_token", "", R"(\bhf_[A-Za-z0-9]{34,40})", 3},
    {"hugging_face_org_token", "", R"(\bapi_org_[A-Za-z]{34})", 3},
    {"replicate_api_token", "", R"(\br8_[A-Za-z0-9]{37}\b)", 3.2},
    {"groq_api_key", "", R"(\bgsk_[A-Za-z0-9]{52})", 3.2},
    {"xai_api_key", "", R"(\bxai-[A-Za-z0-9]{80})", 3.5},
    {"perplexity_api_key", "", R"(\bpplx-[A-Za-z0-9]{48})", 3.2},
    {"openrouter_api_key", "", R"(\bsk-or-v1-[a-f0-9]{64})", 3},
    {"nvidia_api_key", "", R"(\bnvapi-[A-Za-z0-9_-]{60,70})", 3.5},
    {"together_api_key", "", R"(\btgp_v1_[A-Za-z0-9_-]{43})", 3.5},
    {"fireworks_api_key", "", R"(\bfw_[A-Za-z0-9]{22,28})", 3.2, AcceptMixedToken},
    {"cerebras_api_key", "", R"(\bcsk-[a-z0-9]{48})", 3.4},
    {"elevenlabs_api_key", "", R"(\bsk_[a-f0-9]{48})", 3},
    {"langsmith_api_key", "", R"(\blsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10})", 3},
    {"langfuse_secret_key", "", R"(\bsk-lf-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})", 3},
    {"pinecone_api_key", "", R"(\bpcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{60,66})", 3.5},
    {"tavily_api_key", "", R"(\btvly-(?:dev-|prod-)?[A-Za-z0-9]{32})", 3.2},
    {"weights_and_biases_api_key", "", R"(\bwandb_v1_[A-Za-z0-9_]{60,90})", 3.5},
    {"voyage_api_key", "", R"(\bpa-[A-Za-z0-9_-]{43}\b)", 3.6, AcceptMixedToken},
    {"jina_api_key", "", R"(\bjina_[a-f0-9]{32}[A-Za-z0-9_-]{28})", 3.5},
    {"llama_cloud_api_key", "", R"(\bllx-[A-Za-z0-9]{48})", 3.4},
    {"firecrawl_api_key", "", R"(\bfc-[a-f0-9]{32}\b)", 3},
    {"tollgate_key", "", R"(\btg_[a-z]{2,8}_[A-Za-z0-9]{6,12}_[A-Za-z0-9_-]{20,80})"},
};

}  // namespace

std::span<const SecretKind> ModelSecrets() { return kRows; }

}  // namespace tollgate::policy
