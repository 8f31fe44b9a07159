//! An `up` by outputs: the same model as by inputs, of which a token reads less.

use rasp::Status;
use rasp::format::Allocation;
use rasp::model::WeightType;
use rasp_packer::{PackOptions, RecipeSource, pack};

use crate::case::Case;
use crate::packed::{Packed, SPARSITY};
use crate::{case, compare, lse};

/// The gated cases whose activation has zeros.
fn cases() -> Vec<Case> {
    let cases: Vec<Case> = case::all().into_iter().filter(|case| case.name.starts_with("llama_relu")).collect();
    assert_eq!(cases.len(), 2);
    cases
}

/// By outputs, and by inputs.
fn both(test: &str, case: &Case, change: impl Fn(&mut PackOptions)) -> [Packed; 2] {
    [false, true].map(|up_by_inputs| {
        let packed = Packed::with(&format!("{test}_{up_by_inputs}"), case.clone(), |options| {
            options.up_by_inputs = up_by_inputs;
            change(options);
        });
        let packed = packed.unwrap();
        assert_eq!(packed.model.config().block.up_by_outputs, !up_by_inputs);
        packed
    })
}

/// The share that a dense token reads.
fn kept(packed: &Packed) -> f64 {
    let mut session = packed.session();
    session.prefill(&packed.case.tokens[..8]).unwrap();
    packed.case.tokens[8..].iter().for_each(|&token| session.decode(token).unwrap());
    session.stats().kept
}

#[test]
fn either_way_is_transformers_and_by_outputs_less_is_read() {
    for case in cases() {
        let both = both("either", &case, |_| {});
        for packed in &both {
            let rows = packed.logits(0.0, usize::MAX).unwrap();
            compare(&case, &case.golden(), &rows).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        }
        let [by_outputs, by_inputs] = &both;
        assert_eq!(by_outputs.model.linear_bytes(), by_inputs.model.linear_bytes());
        // Half of the gates are zero, and `up` is a quarter of these linears.
        let [less, more] = [kept(by_outputs), kept(by_inputs)];
        assert!(less < more - 0.05, "{}: {less} of {more}", case.name);
        // What it says of itself beforehand: all inputs of `down` are masked there, too.
        let expected = by_outputs.model.expected_traffic(SPARSITY).unwrap().kept;
        assert!((0.2..0.6).contains(&expected), "{}: {expected}", case.name);
        let up = by_outputs.model.groups().find_map(|group| group.up()).unwrap();
        assert!(up.kept().len() == 1 && (0.2..0.8).contains(&up.kept()[0]), "{}: {:?}", case.name, up.kept());
    }
}

/// In whole numbers `up` has 8 bits by outputs, whatever the others have: no worse than by inputs.
#[test]
fn whole_numbers_are_as_near_to_transformers() {
    for case in cases() {
        for weight_type in [WeightType::Q8, WeightType::Q4, WeightType::Q4S] {
            let [by_outputs, by_inputs] =
                both("whole", &case, |options| options.weight_type = Some(weight_type)).map(|packed| {
                    let golden = case.golden();
                    let rows = packed.logits(0.0, usize::MAX).unwrap();
                    let ids = case.ids.len();
                    let pairs = rows.iter().zip(golden.log_probs.chunks_exact(ids));
                    let apart = pairs.flat_map(|(row, expected)| {
                        let total = lse(row);
                        case.ids
                            .iter()
                            .zip(expected)
                            .map(move |(&id, &e)| (f64::from(row[id]) - total - f64::from(e)).abs())
                    });
                    apart.sum::<f64>() / golden.log_probs.len() as f64
                });
            println!("{} {}: {by_outputs:.4}, {by_inputs:.4}", case.name, weight_type.name());
            assert!(by_outputs < 1.2 * by_inputs, "{} {}: {by_outputs} for {by_inputs}", case.name, weight_type.name());
        }
    }
}

/// A recipe takes along what it knows of `up`, and says which way round it is.
#[test]
fn recipes_are_of_one_way() {
    let case = cases().remove(0);
    let tuned = |options: &mut PackOptions| {
        (options.allocation, options.tune) = (Allocation::Global, 1);
        options.save_recipe = Some(options.output.with_extension("recipe"));
    };
    let [by_outputs, by_inputs] = both("recipes", &case, tuned);
    let folder = |up_by_inputs: bool| crate::packed::place(&format!("recipes_{up_by_inputs}"), &case);
    let with = |recipe_of: bool, up_by_inputs: bool| {
        let (input, recipe) = (folder(up_by_inputs), folder(recipe_of).join("out.recipe"));
        let options = PackOptions {
            recipe_from: RecipeSource::File(recipe),
            up_by_inputs,
            weight_type: Some(WeightType::BF16),
            ..PackOptions::new(&input, input.join("again.rasp"))
        };
        pack(&options, &mut rasp_packer::Silent).map(|_| options.output)
    };
    for (up_by_inputs, first) in [(false, by_outputs), (true, by_inputs)] {
        let again = rasp::Model::load(&with(up_by_inputs, up_by_inputs).unwrap(), &Default::default()).unwrap();
        let [expected, found] = [&first.model, &again].map(|model| model.expected_traffic(SPARSITY).unwrap().kept);
        assert!((expected - found).abs() < 1e-6, "{found} for {expected}");
        let error = with(up_by_inputs, !up_by_inputs).unwrap_err();
        let way = if up_by_inputs { "with --up-by-inputs" } else { "without --up-by-inputs" };
        assert!(error.status() == Status::InvalidArgument && error.message().contains(way), "{error}");
    }
}
