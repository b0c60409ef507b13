//! Label selectors of the custom resources: the schema that the API server enforces, and what it lets through parsed.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::world::model;

/// Selects objects by their labels. All parts must hold; an empty selector selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {
        "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
    }))]
    pub match_labels: BTreeMap<String, String>,
    /// Rules for labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One rule for one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)")
    .message("values: operators In and NotIn need at least one value"))]
#[x_kube(validation = Rule::new("!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0")
    .message("values: operators Exists and DoesNotExist take no values; leave them out"))]
pub struct LabelSelectorRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label's value is compared with `values`.
    pub operator: LabelSelectorOperator,
    /// Values that the label may (In) or may not (NotIn) have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label's value is compared. NotIn and DoesNotExist hold for a label that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelSelectorOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    /// The selector as the planner matches it; absent selects everything. What the schema should have refused is
    /// added to `errors`, with `field` named.
    pub(super) fn to_model(selector: Option<&Self>, field: &str, errors: &mut Vec<String>) -> model::Selector {
        let Some(selector) = selector else { return model::Selector::default() };
        let expressions = selector
            .match_expressions
            .iter()
            .enumerate()
            .map(|(i, requirement)| {
                let operator = match requirement.operator {
                    LabelSelectorOperator::In => model::Operator::In,
                    LabelSelectorOperator::NotIn => model::Operator::NotIn,
                    LabelSelectorOperator::Exists => model::Operator::Exists,
                    LabelSelectorOperator::DoesNotExist => model::Operator::DoesNotExist,
                };
                let takes_values = matches!(operator, model::Operator::In | model::Operator::NotIn);
                if takes_values == requirement.values.is_empty() {
                    let wanted = if takes_values { "needs values" } else { "takes no values" };
                    errors.push(format!("{field}.matchExpressions[{i}].values: this operator {wanted}"));
                }
                model::Requirement {
                    key: requirement.key.clone(),
                    operator,
                    values: requirement.values.iter().cloned().collect(),
                }
            })
            .collect();
        model::Selector { match_labels: selector.match_labels.clone(), expressions }
    }
}
